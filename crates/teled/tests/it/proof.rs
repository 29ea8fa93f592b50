//! The Telegram of these tests is right: clients that were written for the real one take it for that.

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_real_telegram_take_the_loopback_one_for_it() {
    platforms::telegram::proven().await;
}
