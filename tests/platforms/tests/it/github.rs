//! GitHub's side of a login, held against a client that knows it.

#[tokio::test(flavor = "multi_thread")]
async fn authlib_logs_in_here_as_it_does_at_github() {
    if !platforms::github::proven().await {
        eprintln!("the stand-in for GitHub: not verified");
    }
}
