"""Uses the loopback workspace as the official client uses Slack, and fails where it is not as Slack is."""

import json
import sys
import threading

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse

api, bot_token, app_token, time, body, signature = sys.argv[1:]
client = WebClient(token=bot_token, base_url=api + "/")


def refused(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except SlackApiError as failure:
        assert failure.response["error"] == error, failure.response
    else:
        raise AssertionError(f"{call.__name__} was not refused with {error}")


me = client.auth_test()
assert (me["team_id"], me["user_id"], me["bot_id"]) == ("T1", "UBOT", "BBOT"), me

metadata = {"event_type": "delivery", "event_payload": {"key": "k1"}}
posted = client.chat_postMessage(channel="C1", text="hello", metadata=metadata)
assert posted["message"]["text"] == "hello" and posted["ts"] == posted["message"]["ts"]
reply = client.chat_postMessage(channel="C1", text="a reply", thread_ts=posted["ts"])
client.chat_update(channel="C1", ts=posted["ts"], text="hello again")
for text in ("one", "two", "three"):
    client.chat_postMessage(channel="C1", text=text)
pages = [page["messages"] for page in client.conversations_history(channel="C1", limit=2, include_all_metadata=True)]
texts = [message["text"] for page in pages for message in page]
assert texts == ["three", "two", "one", "hello again"], texts
assert [len(page) for page in pages] == [2, 2]
assert pages[1][1]["metadata"] == metadata, pages
bare = client.conversations_history(channel="C1", oldest=posted["ts"], inclusive=True, limit=1000)["messages"]
assert all("metadata" not in message for message in bare) and len(bare) == 4
after = client.conversations_history(channel="C1", oldest=posted["ts"])["messages"]
assert [message["text"] for message in after] == ["three", "two", "one"]
thread = client.conversations_replies(channel="C1", ts=posted["ts"])["messages"]
assert [message["text"] for message in thread] == ["hello again", "a reply"], thread
client.chat_delete(channel="C1", ts=reply["ts"])
refused("message_not_found", client.chat_delete, channel="C1", ts=reply["ts"])
refused("channel_not_found", client.chat_postMessage, channel="C404", text="x")
refused("no_text", client.chat_postMessage, channel="C1", text="")
refused("msg_too_long", client.chat_update, channel="C1", ts=posted["ts"], text="x" * 4001)
refused("invalid_auth", WebClient(token="xoxb-other", base_url=api + "/").auth_test)
refused("not_allowed_token_type", WebClient(token=app_token, base_url=api + "/").auth_test)

assert client.conversations_info(channel="C1")["channel"]["name"] == "general"
assert client.conversations_info(channel="D1")["channel"]["is_im"] is True
assert client.users_info(user="U1")["user"]["profile"]["display_name"] == "ann"
refused("user_not_found", client.users_info, user="U404")

client.reactions_add(channel="C1", timestamp=posted["ts"], name="+1")
refused("already_reacted", client.reactions_add, channel="C1", timestamp=posted["ts"], name="+1")
client.reactions_remove(channel="C1", timestamp=posted["ts"], name="+1")
refused("no_reaction", client.reactions_remove, channel="C1", timestamp=posted["ts"], name="+1")

uploaded = client.files_upload_v2(channel="C1", filename="a.txt", content="what is in it", initial_comment="see")
file = client.files_info(file=uploaded["file"]["id"])["file"]
assert file["name"] == "a.txt" and file["size"] == len("what is in it"), file
assert file["shares"]["public"]["C1"][0]["ts"]
client.files_delete(file=file["id"])
refused("file_not_found", client.files_info, file=file["id"])

pane = client.chat_postMessage(channel="D1", text="a thread")["ts"]
client.assistant_threads_setStatus(channel_id="D1", thread_ts=pane, status="is thinking")
client.assistant_threads_setTitle(channel_id="D1", thread_ts=pane, title="A title")
prompts = [{"title": "Ask", "message": "What can you do?"}]
client.assistant_threads_setSuggestedPrompts(channel_id="D1", thread_ts=pane, prompts=prompts)

verifier = SignatureVerifier("proof-secret")
assert verifier.is_valid(body=body, timestamp=time, signature=signature)
assert not verifier.is_valid(body=body + " ", timestamp=time, signature=signature)
assert not SignatureVerifier("another").is_valid(body=body, timestamp=time, signature=signature)

heard = threading.Event()
socket = SocketModeClient(app_token=app_token, web_client=client)


def listener(connection, request):
    assert request.type == "events_api", request.type
    assert request.payload["event"]["text"] == "through the socket", json.dumps(request.payload)
    connection.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
    heard.set()


socket.socket_mode_request_listeners.append(listener)
socket.connect()
assert heard.wait(60), "nothing came through the socket"
socket.close()
