//! When an access token is replaced. Pure: what is random is given.

use std::time::Duration;

/// How long before its end a token is replaced, at most. The metadata server gives a new one five
/// minutes before the end of the old one.
const SLACK_MAX: Duration = Duration::from_secs(240);

/// How long after it was given a token of that life is replaced: a while before its end, which is a
/// little longer by `dice`, between 0 and 1, so that many processes do not ask at once.
pub(crate) fn replace_after(life: Duration, dice: f64) -> Duration {
    let slack = (life / 3).min(SLACK_MAX);
    life - slack.mul_f64(0.8 + 0.2 * dice.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_before_its_end_and_not_by_all_at_once() {
        let at = |life: u64, dice| replace_after(Duration::from_secs(life), dice).as_secs();
        assert_eq!((at(3_600, 1.0), at(3_600, 0.0)), (3_360, 3_408));
        assert_eq!((at(30, 1.0), at(30, 0.0)), (20, 22));
        assert_eq!(at(0, 0.5), 0);
    }
}
