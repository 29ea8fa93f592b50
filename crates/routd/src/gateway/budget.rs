//! Whether a folder may spend more. Pure.
//!
//! What was spent is compared together with what is set aside for requests in flight, and a request is let through as
//! long as that is below the cap: so a cap is overshot by the last request at most, and by as much as requests in
//! flight use beyond what was set aside for them.

use super::refusal::{Kind, Refusal};
use proto::{
    Folder,
    routd::{CapLimits, Spent},
};

/// A cap of the folder or of one above it, and what stands against it.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) folder: Folder,
    pub(crate) limits: CapLimits,
    pub(crate) today: Spent,
    pub(crate) this_month: Spent,
    /// Seconds until tomorrow and until the next month.
    pub(crate) resumes: [u64; 2],
}

/// Refuses a request for a model whose price is known or not.
pub(crate) fn check(standing: &Standing, model: &str, has_price: bool) -> Result<(), Refusal> {
    let Standing { folder, limits, today, this_month, resumes } = standing;
    if limits.is_of_money() && !has_price {
        let text = format!(
            "the folder {folder} has a cap in money, and the price of {model} is not known; \
             the operator can name it in MODEL_PRICES"
        );
        return Err(Refusal::new(Kind::Capped, text));
    }
    let money = |spent: &Spent| spent.micro_dollars;
    let tokens = |spent: &Spent| spent.tokens;
    let [tomorrow, next_month] = *resumes;
    let all = [
        (limits.monthly_micro_dollars, money(this_month), "money", "month", next_month),
        (limits.monthly_tokens, tokens(this_month), "tokens", "month", next_month),
        (limits.daily_micro_dollars, money(today), "money", "day", tomorrow),
        (limits.daily_tokens, tokens(today), "tokens", "day", tomorrow),
    ];
    for (limit, spent, what, period, resumes) in all {
        if limit.is_some_and(|limit| spent >= limit) {
            let text = format!(
                "the folder {folder} has spent what it may on models this {period} (its cap in {what}); \
                 it may go on when the next {period} begins, at midnight UTC"
            );
            return Err(Refusal { retry_after: Some(resumes), ..Refusal::new(Kind::Capped, text) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(limits: CapLimits, today: u64, this_month: u64) -> Standing {
        let spent = |amount| Spent { micro_dollars: amount, tokens: amount };
        Standing {
            folder: "atlas".parse().unwrap(),
            limits,
            today: spent(today),
            this_month: spent(this_month),
            resumes: [60, 600],
        }
    }

    #[test]
    fn a_folder_may_spend_until_its_cap_is_reached() {
        let none = CapLimits::default();
        let daily = CapLimits { daily_micro_dollars: Some(100), ..none };
        let monthly = CapLimits { monthly_tokens: Some(1_000), ..daily };
        assert!(check(&standing(none, u64::MAX, u64::MAX), "m", false).is_ok(), "no cap");
        assert!(check(&standing(daily, 99, 5_000), "m", true).is_ok());
        let refused = check(&standing(daily, 100, 100), "m", true).unwrap_err();
        assert_eq!((refused.kind, refused.retry_after), (Kind::Capped, Some(60)));
        let refused = check(&standing(monthly, 100, 1_000), "m", true).unwrap_err();
        assert_eq!(refused.retry_after, Some(600), "the longer wait is told");
        let refused = check(&standing(daily, 0, 0), "m", false).unwrap_err();
        assert!(refused.message.contains("MODEL_PRICES"), "{}", refused.message);
        let tokens = CapLimits { daily_tokens: Some(5), ..none };
        assert!(check(&standing(tokens, 4, 4), "m", false).is_ok(), "tokens need no price");
        let nothing = CapLimits { daily_tokens: Some(0), ..none };
        assert!(check(&standing(nothing, 0, 0), "m", true).is_err(), "a cap of nothing");
    }
}
