//! Keeps an eye on the certificate: on its files, and on the day it ends.

use crate::tls::{Look, Pairs};
use kit::Context;
use prometheus_client::metrics::gauge::Gauge;
use std::{sync::Arc, time::Duration};

/// How often the pair's files are looked at, where it is in files.
const POLL: Duration = Duration::from_secs(1);
/// From when on a certificate that ends soon is shown as trouble, in seconds.
const SOON: i64 = 14 * 24 * 3600;

/// Looks at the files and at the date until the stop.
pub async fn run(context: Context, pairs: Arc<Pairs>, not_after: Gauge) {
    let mut seen = pairs.file_ids();
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
        }
        let now = pairs.file_ids();
        if now != seen {
            let look = pairs.look_again();
            // What was refused is read again at the next look: the two files of a pair may have
            // been read on both sides of a change.
            if !matches!(look, Look::Refused(_)) {
                seen = now;
            }
            tell(&context, &look);
        }
        let ends = pairs.not_after();
        not_after.set(ends.unwrap_or_default());
        let left = ends.map(|ends| ends - context.clock.now().0.div_euclid(1000));
        let trouble = left.filter(|left| *left < SOON).map(|left| match left / (24 * 3600) {
            ..0 => "the certificate has ended; clients refuse it".to_owned(),
            days => format!("the certificate ends in {days} days"),
        });
        context.health.degraded("TLS certificate", trouble);
    }
}

fn tell(context: &Context, look: &Look) {
    let trouble = match look {
        Look::Same => None,
        Look::Renewed => {
            tracing::info!("a new TLS certificate is used from now on");
            None
        }
        Look::Refused(reason) => Some(format!("{reason}; the pair before it stays in use")),
    };
    context.health.degraded("TLS files", trouble);
}
