//! What may be spent, as forms say it.

use crate::{parts::field, query::blank, trouble::Trouble};
use maud::{Markup, html};
use proto::routd::CapLimits;
use serde::Deserialize;

/// The limits of one form. What was left blank is no limit.
#[derive(Debug, Deserialize)]
pub(super) struct Limits {
    #[serde(default)]
    daily_dollars: String,
    #[serde(default)]
    monthly_dollars: String,
    #[serde(default, deserialize_with = "blank")]
    daily_tokens: Option<u64>,
    #[serde(default, deserialize_with = "blank")]
    monthly_tokens: Option<u64>,
}

impl Limits {
    /// The limits, as their owner knows them.
    pub(super) fn read(self) -> Result<CapLimits, Trouble> {
        Ok(CapLimits {
            daily_micro_dollars: micro(&self.daily_dollars)?,
            monthly_micro_dollars: micro(&self.monthly_dollars)?,
            daily_tokens: self.daily_tokens,
            monthly_tokens: self.monthly_tokens,
        })
    }
}

/// The fields of such a form, with what stands now; `hint` says what blank means.
pub(super) fn fields(now: &CapLimits, hint: &str) -> Markup {
    let money = |limit: Option<u64>| {
        let text = |micro: u64| format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
        limit.map(text).unwrap_or_default()
    };
    let count = |limit: Option<u64>| limit.map(|count| count.to_string()).unwrap_or_default();
    html! {
        (field("dd", "Dollars a day", "daily_dollars", &money(now.daily_micro_dollars), hint))
        (field("md", "Dollars a month", "monthly_dollars", &money(now.monthly_micro_dollars), ""))
        (field("dt", "Tokens a day", "daily_tokens", &count(now.daily_tokens), ""))
        (field("mt", "Tokens a month", "monthly_tokens", &count(now.monthly_tokens), ""))
    }
}

/// Dollars, with at most six digits behind the point, as millionths.
fn micro(text: &str) -> Result<Option<u64>, Trouble> {
    let text = text.trim().trim_start_matches('$');
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Trouble::Invalid(format!("“{text}” is no amount of dollars such as 2.50."));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 6 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part: u64 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
    whole
        .checked_mul(1_000_000)
        .and_then(|micro| micro.checked_add(part))
        .map(Some)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_to_the_millionth_and_nothing_is_guessed() {
        for (text, found) in [
            ("", None),
            (" ", None),
            ("2", Some(2_000_000)),
            ("$2.50", Some(2_500_000)),
            ("0.000001", Some(1)),
        ] {
            assert_eq!(micro(text).unwrap(), found, "{text}");
        }
        for text in
            ["-1", "2,50", "1e3", "0.0000001", ".5", "x", "99999999999999999999", "18446744073710"]
        {
            assert!(micro(text).is_err(), "{text}");
        }
    }
}
