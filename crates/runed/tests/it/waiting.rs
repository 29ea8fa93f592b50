//! Waiting for a state, within a bound.

use std::time::Duration;

/// How long any state may take to be reached.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `reached`, and fails with `what` when it is not in time.
pub async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// Waits for `future`, and fails with `what` when it is not ready in time.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}
