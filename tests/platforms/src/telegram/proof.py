"""Uses a server as a bot would, with a client that was written for the real Telegram. Exits with 1 at the first thing
that is not as the client expects it."""

import asyncio
import sys

CLIENT, URL, TOKEN = sys.argv[1:4]
PICTURE = b"\x89PNG picture"


async def until_done(poller, conflict, poll):
    """Polls beside the poller until that one was sent away. Who came first is sent away, so this one may be, too."""

    while not poller.done():
        try:
            await poll()
        except conflict:
            pass
        await asyncio.sleep(0.05)
    await poller


async def ptb():
    from telegram import Bot, InputMediaPhoto, ReactionTypeEmoji
    from telegram.error import BadRequest, Conflict, Forbidden, InvalidToken, RetryAfter

    async def refused(kind, call):
        try:
            await call
        except kind as error:
            return error
        raise AssertionError(f"{kind} was expected")

    async with Bot(TOKEN, base_url=f"{URL}/bot", base_file_url=f"{URL}/file/bot") as bot:
        assert bot.bot.username == "the_bot"
        updates = await bot.get_updates(timeout=1)
        assert [u.message.text or u.message.caption for u in updates] == ["/start", "a file", "and gone"]
        file = await bot.get_file(updates[1].message.document.file_id)
        assert bytes(await file.download_as_bytearray()) == b"of a person"
        assert await bot.get_updates(offset=updates[-1].update_id + 1, timeout=0) == ()
        sent = await bot.send_message(1, "<b>bold</b> &amp; &lt;plain&gt;", parse_mode="HTML")
        assert sent.text == "bold & <plain>" and sent.entities[0].type == "bold"
        edited = await bot.edit_message_text("other", chat_id=1, message_id=sent.message_id)
        assert edited.text == "other"
        await bot.edit_message_text("bold & <plain>", chat_id=1, message_id=sent.message_id)
        error = await refused(BadRequest, bot.edit_message_text("bold & <plain>", chat_id=1, message_id=sent.message_id))
        assert "not modified" in error.message
        document = await bot.send_document(1, b"content", filename="b.txt")
        assert document.document.file_name == "b.txt"
        album = await bot.send_media_group(1, [InputMediaPhoto(PICTURE), InputMediaPhoto(PICTURE)])
        assert len(album) == 2 and album[0].photo
        gone = await bot.send_message(1, "gone")
        assert await bot.delete_message(1, gone.message_id)
        assert await bot.set_message_reaction(1, 1, [ReactionTypeEmoji("👍")])
        limited = await refused(RetryAfter, bot.send_chat_action(1, "typing"))
        assert int(getattr(limited.retry_after, "total_seconds", lambda: limited.retry_after)()) == 3
        assert await bot.send_chat_action(1, "typing")
        assert "blocked" in (await refused(Forbidden, bot.send_message(2, "x"))).message
        assert "chat not found" in (await refused(BadRequest, bot.send_message(3, "x"))).message.lower()
        assert "parse entities" in (await refused(BadRequest, bot.send_message(1, "<b>x", parse_mode="HTML"))).message
        assert "too long" in (await refused(BadRequest, bot.send_message(1, "x" * 4097))).message
        poller = asyncio.create_task(refused(Conflict, bot.get_updates(offset=99999, timeout=20)))
        async with Bot(TOKEN, base_url=f"{URL}/bot") as second:
            await until_done(poller, Conflict, lambda: second.get_updates(offset=99999, timeout=0))
        assert await bot.set_webhook("https://127.0.0.1:9/hook", secret_token="x")
        assert (await bot.get_webhook_info()).url == "https://127.0.0.1:9/hook"
        await refused(Conflict, bot.get_updates(timeout=0))
        assert await bot.delete_webhook()
    wrong = Bot("1:wrong", base_url=f"{URL}/bot", base_file_url=f"{URL}/file/bot")
    await refused(InvalidToken, wrong.initialize())


async def aiogram():
    from aiogram import Bot
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer
    from aiogram.exceptions import (
        TelegramBadRequest, TelegramConflictError, TelegramForbiddenError, TelegramRetryAfter, TelegramUnauthorizedError,
    )
    from aiogram.types import BufferedInputFile, InputMediaPhoto, ReactionTypeEmoji

    async def refused(kind, call):
        try:
            await call
        except kind as error:
            return error
        raise AssertionError(f"{kind} was expected")

    session = AiohttpSession(api=TelegramAPIServer.from_base(URL))
    bot = Bot(TOKEN, session=session)
    try:
        assert (await bot.get_me()).username == "the_bot"
        updates = await bot.get_updates(timeout=1)
        assert [u.message.text or u.message.caption for u in updates] == ["/start", "a file", "and gone"]
        file = await bot.get_file(updates[1].message.document.file_id)
        assert (await bot.download_file(file.file_path)).read() == b"of a person"
        assert await bot.get_updates(offset=updates[-1].update_id + 1, timeout=0) == []
        sent = await bot.send_message(1, "<b>bold</b> &amp; &lt;plain&gt;", parse_mode="HTML")
        assert sent.text == "bold & <plain>" and sent.entities[0].type == "bold"
        await refused(
            TelegramBadRequest, bot.edit_message_text("bold & <plain>", chat_id=1, message_id=sent.message_id)
        )
        document = await bot.send_document(1, BufferedInputFile(b"content", filename="b.txt"))
        assert document.document.file_name == "b.txt"
        picture = lambda: InputMediaPhoto(media=BufferedInputFile(PICTURE, filename="p.png"))
        album = await bot.send_media_group(1, [picture(), picture()])
        assert len(album) == 2 and album[0].photo
        gone = await bot.send_message(1, "gone")
        assert await bot.delete_messages(1, [gone.message_id])
        assert await bot.set_message_reaction(1, 1, [ReactionTypeEmoji(emoji="👍")])
        assert (await refused(TelegramRetryAfter, bot.send_chat_action(1, "typing"))).retry_after == 3
        await refused(TelegramForbiddenError, bot.send_message(2, "x"))
        await refused(TelegramBadRequest, bot.send_message(1, "<b>x", parse_mode="HTML"))
        poller = asyncio.create_task(refused(TelegramConflictError, bot.get_updates(offset=99999, timeout=20)))
        await until_done(poller, TelegramConflictError, lambda: bot.get_updates(offset=99999, timeout=0))
        assert await bot.set_webhook("https://127.0.0.1:9/hook", secret_token="x")
        assert (await bot.get_webhook_info()).url == "https://127.0.0.1:9/hook"
        assert await bot.delete_webhook()
        wrong = Bot("1:wrong", session=session)
        await refused(TelegramUnauthorizedError, wrong.get_me())
    finally:
        await session.close()


asyncio.run(ptb() if CLIENT == "ptb" else aiogram())
