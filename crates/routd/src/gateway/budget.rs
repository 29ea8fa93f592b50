//! Whether somebody may spend more. Pure.
//!
//! A request is let through where all that it may come to fits below the cap, together with what was spent and with all
//! that the requests in flight may come to. That is decided in the transaction that sets it aside, so that requests that
//! come at the same moment do not overshoot a cap together.

use super::refusal::{Kind, Refusal};
use proto::routd::{CapLimits, CapOf, Spent};

/// What becomes of a request for a model whose price is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unpriced {
    /// It is refused where a cap in money stands over it: what it costs could not be counted.
    Capped,
    /// It is refused.
    Refuse,
    /// It counts as nothing.
    Free,
}

impl Unpriced {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "capped" => Some(Self::Capped),
            "refuse" => Some(Self::Refuse),
            "free" => Some(Self::Free),
            _ => None,
        }
    }
}

/// A cap that holds for a request, and what stands against it.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) of: CapOf,
    pub(crate) limits: CapLimits,
    pub(crate) today: Spent,
    pub(crate) this_month: Spent,
    /// Seconds until tomorrow and until the next month.
    pub(crate) resumes: [u64; 2],
}

/// A request, as far as it is decided on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) model: &'a str,
    /// Tokens that it may come to at most, of every kind.
    pub(crate) tokens: u64,
    /// What these may cost at most; nothing where the price is not known.
    pub(crate) micro_dollars: Option<u64>,
    pub(crate) unpriced: Unpriced,
}

/// Refuses a model whose price is not known, where such a model is refused whatever the caps.
pub(crate) fn check_price(wish: &Wish<'_>) -> Result<(), Refusal> {
    if wish.micro_dollars.is_some() || wish.unpriced != Unpriced::Refuse {
        return Ok(());
    }
    let text = format!(
        "the price of {} is not known; the operator can name it in MODEL_PRICES",
        wish.model
    );
    Err(Refusal::new(Kind::Capped, text))
}

/// Refuses a request that a cap has no room for.
pub(crate) fn check(standing: &Standing, wish: &Wish<'_>) -> Result<(), Refusal> {
    let Standing { limits, today, this_month, resumes, .. } = standing;
    let who = whose(&standing.of);
    if limits.is_of_money() && wish.micro_dollars.is_none() && wish.unpriced != Unpriced::Free {
        let text = format!(
            "{who} has a cap in money, and the price of {} is not known; the operator can name it in MODEL_PRICES",
            wish.model
        );
        return Err(Refusal::new(Kind::Capped, text));
    }
    let money = wish.micro_dollars.unwrap_or_default();
    let [tomorrow, next_month] = *resumes;
    let all = [
        (
            limits.monthly_micro_dollars,
            this_month.micro_dollars,
            money,
            "money",
            "month",
            next_month,
        ),
        (limits.monthly_tokens, this_month.tokens, wish.tokens, "tokens", "month", next_month),
        (limits.daily_micro_dollars, today.micro_dollars, money, "money", "day", tomorrow),
        (limits.daily_tokens, today.tokens, wish.tokens, "tokens", "day", tomorrow),
    ];
    for (limit, spent, wanted, what, period, resumes) in all {
        let Some(limit) = limit else { continue };
        let left = limit.saturating_sub(spent);
        // A model that costs nothing is no matter of money.
        if wanted <= left && (left > 0 || what == "money") {
            continue;
        }
        let text = if left == 0 {
            format!(
                "{who} has spent what it may on models this {period} (its cap in {what}), with what is set aside for \
                 requests in flight; it may go on when the next {period} begins, at midnight UTC"
            )
        } else {
            let [left, wanted] = [left, wanted].map(|amount| told(amount, what));
            format!(
                "{who} has {left} left of its cap in {what} this {period}, with what is set aside for requests in \
                 flight, and this request may come to {wanted}; one with a smaller limit of output, or a shorter one, \
                 may fit"
            )
        };
        return Err(Refusal { retry_after: Some(resumes), ..Refusal::new(Kind::Capped, text) });
    }
    Ok(())
}

fn told(amount: u64, what: &str) -> String {
    match what {
        "money" => format!("${}.{:06}", amount / 1_000_000, amount % 1_000_000),
        _ => format!("{amount} tokens"),
    }
}

fn whose(of: &CapOf) -> String {
    match of {
        CapOf::Instance => "this instance".into(),
        CapOf::Folder(folder) => format!("the folder {folder}"),
        CapOf::Person(address) => format!("the person {address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(limits: CapLimits, today: u64, this_month: u64) -> Standing {
        let spent = |amount| Spent { micro_dollars: amount, tokens: amount };
        Standing {
            of: "folder:atlas".parse().unwrap(),
            limits,
            today: spent(today),
            this_month: spent(this_month),
            resumes: [60, 600],
        }
    }

    fn wish(amount: u64, has_price: bool) -> Wish<'static> {
        let micro_dollars = has_price.then_some(amount);
        Wish { model: "m", tokens: amount, micro_dollars, unpriced: Unpriced::Capped }
    }

    #[test]
    fn a_request_fits_whole_or_is_refused() {
        let none = CapLimits::default();
        let daily = CapLimits { daily_micro_dollars: Some(100), ..none };
        let monthly = CapLimits { monthly_tokens: Some(1_000), ..daily };
        assert!(check(&standing(none, u64::MAX, u64::MAX), &wish(9, false)).is_ok(), "no cap");
        assert!(check(&standing(daily, 90, 5_000), &wish(10, true)).is_ok(), "to the last one");
        let refused = check(&standing(daily, 90, 90), &wish(11, true)).unwrap_err();
        assert_eq!((refused.kind, refused.retry_after), (Kind::Capped, Some(60)));
        assert!(refused.message.contains("$0.000010 left"), "{}", refused.message);
        let refused = check(&standing(daily, 100, 100), &wish(1, true)).unwrap_err();
        assert!(refused.message.contains("has spent what it may"), "{}", refused.message);
        let refused = check(&standing(monthly, 100, 1_000), &wish(1, true)).unwrap_err();
        assert_eq!(refused.retry_after, Some(600), "the longer wait is told");
        assert!(check(&standing(daily, 0, 0), &wish(u64::MAX, true)).is_err(), "no overflow");
        let tokens = CapLimits { daily_tokens: Some(5), ..none };
        assert!(check(&standing(tokens, 4, 4), &wish(1, false)).is_ok(), "tokens need no price");
        assert!(check(&standing(tokens, 4, 4), &wish(2, false)).is_err());
        let nothing = CapLimits { daily_tokens: Some(0), ..none };
        assert!(check(&standing(nothing, 0, 0), &wish(0, true)).is_err(), "a cap of nothing");
        let unpaid = CapLimits { daily_micro_dollars: Some(0), ..none };
        assert!(check(&standing(unpaid, 0, 0), &wish(0, true)).is_ok(), "what costs nothing");
    }

    #[test]
    fn a_model_of_unknown_price_is_refused_or_free_as_was_chosen() {
        let daily = CapLimits { daily_micro_dollars: Some(100), ..CapLimits::default() };
        let asked = |unpriced| {
            let wish = Wish { unpriced, ..wish(5, false) };
            let capped = check(&standing(daily, 0, 0), &wish).is_ok();
            (check_price(&wish).is_ok(), capped)
        };
        assert_eq!(asked(Unpriced::Capped), (true, false));
        assert_eq!(asked(Unpriced::Refuse), (false, false));
        assert_eq!(asked(Unpriced::Free), (true, true));
        let known = Wish { unpriced: Unpriced::Refuse, ..wish(5, true) };
        assert!(check_price(&known).is_ok() && check(&standing(daily, 0, 0), &known).is_ok());
    }
}
