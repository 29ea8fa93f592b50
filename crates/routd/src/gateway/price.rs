//! What tokens cost. Pure.
//!
//! List prices for ordinary requests: discounts, faster tiers and what a vendor's own tools cost beside tokens are not
//! in them. A setting adds to the table and replaces its rows.

use super::meter::Tokens;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Millionths of a dollar for a million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    input: u64,
    output: u64,
    cache_read: u64,
    /// Kept for five minutes.
    cache_write: u64,
    /// Kept for an hour.
    cache_write_long: u64,
}

/// What one model costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    rates: Rates,
    /// Other rates for the whole of a request whose input has more tokens than this.
    long: Option<(u64, Rates)>,
}

impl Price {
    /// What these tokens may cost at most, whatever part the cache has in their input.
    pub(crate) fn at_most(&self, tokens: &Tokens) -> u64 {
        let (read, output) = (tokens.all_input(), tokens.output);
        let plain = Tokens { input: read, output, ..Tokens::default() };
        let cached = Tokens { cache_read: read, output, ..Tokens::default() };
        self.of(tokens).max(self.of(&plain)).max(self.of(&cached))
    }

    /// What these tokens cost, in millionths of a dollar, rounded up.
    pub(crate) fn of(&self, tokens: &Tokens) -> u64 {
        let rates = match self.long {
            Some((above, rates)) if tokens.all_input() > above => rates,
            _ => self.rates,
        };
        let short = tokens.cache_write.saturating_sub(tokens.cache_write_long);
        let parts = [
            (tokens.input, rates.input),
            (tokens.output, rates.output),
            (tokens.cache_read, rates.cache_read),
            (short, rates.cache_write),
            (tokens.cache_write_long, rates.cache_write_long),
        ];
        let sum: u128 =
            parts.iter().map(|(count, rate)| u128::from(*count) * u128::from(*rate)).sum();
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// The prices by model.
#[derive(Clone, Debug)]
pub(crate) struct Prices(BTreeMap<String, Price>);

/// Dollars for a million tokens: input, output, cache read, cache write for five minutes and for an hour.
type Row = (&'static str, [f64; 5]);

// As the price lists stood on 2026-11-23; `MODEL_PRICES` says that date to operators.
#[rustfmt::skip]
const BUILT_IN: &[Row] = &[
    ("claude-fable-5-1",  [10.0, 50.0, 0.25, 12.5, 20.0]),
    ("claude-fable-5",    [10.0, 50.0, 1.0, 12.5, 20.0]),
    ("claude-opus-5-5",   [4.0, 20.0, 0.2, 5.0, 8.0]),
    ("claude-opus-5",     [5.0, 25.0, 0.5, 6.25, 10.0]),
    ("claude-opus-4-8",   [5.0, 25.0, 0.5, 6.25, 10.0]),
    ("claude-opus-4-7",   [5.0, 25.0, 0.5, 6.25, 10.0]),
    ("claude-opus-4-6",   [5.0, 25.0, 0.5, 6.25, 10.0]),
    ("claude-opus-4-5",   [5.0, 25.0, 0.5, 6.25, 10.0]),
    ("claude-opus-4-1",   [15.0, 75.0, 1.5, 18.75, 30.0]),
    ("claude-opus-4",     [15.0, 75.0, 1.5, 18.75, 30.0]),
    ("claude-sonnet-5-5", [2.0, 10.0, 0.1, 2.5, 4.0]),
    ("claude-sonnet-5",   [2.0, 10.0, 0.2, 2.5, 4.0]),
    ("claude-sonnet-4-6", [3.0, 15.0, 0.3, 3.75, 6.0]),
    ("claude-sonnet-4-5", [3.0, 15.0, 0.3, 3.75, 6.0]),
    ("claude-sonnet-4",   [3.0, 15.0, 0.3, 3.75, 6.0]),
    ("claude-haiku-4-5",  [1.0, 5.0, 0.1, 1.25, 2.0]),
    ("gpt-5.5",           [5.0, 30.0, 0.5, 5.0, 5.0]),
    ("gpt-5.4",           [2.5, 15.0, 0.25, 2.5, 2.5]),
    ("gpt-5.4-mini",      [0.75, 4.5, 0.075, 0.75, 0.75]),
    ("gpt-5.4-nano",      [0.2, 1.25, 0.02, 0.2, 0.2]),
    ("gpt-5.3-codex",     [1.75, 14.0, 0.175, 1.75, 1.75]),
    ("gpt-5.2",           [1.75, 14.0, 0.175, 1.75, 1.75]),
    ("gpt-5.1",           [1.25, 10.0, 0.125, 1.25, 1.25]),
    ("gpt-5",             [1.25, 10.0, 0.125, 1.25, 1.25]),
    ("gpt-5-mini",        [0.25, 2.0, 0.025, 0.25, 0.25]),
    ("gpt-5-nano",        [0.05, 0.4, 0.005, 0.05, 0.05]),
    ("gpt-4.1",           [2.0, 8.0, 0.5, 2.0, 2.0]),
    ("gpt-4.1-mini",      [0.4, 1.6, 0.1, 0.4, 0.4]),
    ("gpt-4.1-nano",      [0.1, 0.4, 0.025, 0.1, 0.1]),
    ("gpt-4o",            [2.5, 10.0, 1.25, 2.5, 2.5]),
    ("gpt-4o-mini",       [0.15, 0.6, 0.075, 0.15, 0.15]),
    ("text-embedding-3-small", [0.02, 0.0, 0.02, 0.02, 0.02]),
    ("text-embedding-3-large", [0.13, 0.0, 0.13, 0.13, 0.13]),
];

/// Cheap up to 100,000 tokens of input, five times that beyond.
const HAIKU: (&str, u64, [f64; 5], [f64; 5]) =
    ("claude-haiku-5-5", 100_000, [0.1, 0.5, 0.01, 0.125, 0.2], [0.5, 2.5, 0.05, 0.625, 1.0]);

/// A row of the setting, in dollars for a million tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    cache_write_1h: Option<f64>,
}

impl Prices {
    /// The built-in table, with what a setting says: a JSON object of models, each with `input` and `output`, and
    /// `cache_read`, `cache_write` and `cache_write_1h`, which are as `input` where they are left out.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let written: BTreeMap<String, Written> = serde_json::from_str(text).ok()?;
        let mut all: BTreeMap<String, Price> = BTreeMap::new();
        for (model, dollars) in BUILT_IN {
            all.insert((*model).into(), Price { rates: rates(dollars)?, long: None });
        }
        let (model, above, short, long) = HAIKU;
        let tiered = Price { rates: rates(&short)?, long: Some((above, rates(&long)?)) };
        all.insert(model.into(), tiered);
        for (model, row) in written {
            let Written { input, output, cache_read, cache_write, cache_write_1h } = row;
            let write = cache_write.unwrap_or(input);
            let dollars = [
                input,
                output,
                cache_read.unwrap_or(input),
                write,
                cache_write_1h.unwrap_or(write),
            ];
            all.insert(model, Price { rates: rates(&dollars)?, long: None });
        }
        Some(Self(all))
    }

    /// The price of a model, by its name or by its name without a date: never by likeness, since the next model of a
    /// family costs something else.
    pub(crate) fn of(&self, model: &str) -> Option<&Price> {
        self.0.get(model).or_else(|| self.0.get(without_date(model)?))
    }
}

/// `claude-x-20250929`, `gpt-x-2025-09-29`, `claude-x-latest`: what stands before the date.
fn without_date(model: &str) -> Option<&str> {
    if let Some(name) = model.strip_suffix("-latest") {
        return Some(name);
    }
    let digits =
        |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if let Some((name, date)) = model.rsplit_once('-')
        && digits(date, 8)
    {
        return Some(name);
    }
    let (rest, day) = model.rsplit_once('-')?;
    let (rest, month) = rest.rsplit_once('-')?;
    let (name, year) = rest.rsplit_once('-')?;
    (digits(day, 2) && digits(month, 2) && digits(year, 4)).then_some(name)
}

fn rates(dollars: &[f64; 5]) -> Option<Rates> {
    let [input, output, cache_read, cache_write, cache_write_long] = [
        micro(dollars[0])?,
        micro(dollars[1])?,
        micro(dollars[2])?,
        micro(dollars[3])?,
        micro(dollars[4])?,
    ];
    Some(Rates { input, output, cache_read, cache_write, cache_write_long })
}

/// Dollars as millionths; nothing below zero, and nothing absurd.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just before")]
fn micro(dollars: f64) -> Option<u64> {
    (0.0..=1_000_000.0).contains(&dollars).then(|| (dollars * 1_000_000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(input: u64, output: u64) -> Tokens {
        Tokens { input, output, ..Tokens::default() }
    }

    #[test]
    fn tokens_cost_what_the_table_says() {
        let prices = Prices::parse("{}").unwrap();
        let sonnet = prices.of("claude-sonnet-4-5-20250929").unwrap();
        assert_eq!(sonnet.of(&tokens(1_000_000, 0)), 3_000_000);
        assert_eq!(sonnet.of(&tokens(1_000, 100)), 3_000 + 1_500);
        let cached = Tokens {
            cache_read: 1_000_000,
            cache_write: 2_000_000,
            cache_write_long: 1_000_000,
            ..Tokens::default()
        };
        assert_eq!(sonnet.of(&cached), 300_000 + 3_750_000 + 6_000_000);
        assert_eq!(prices.of("gpt-4o-mini-2024-07-18").unwrap().of(&tokens(1, 0)), 1, "rounded up");
        assert_eq!(prices.of("claude-haiku-4-5-latest"), prices.of("claude-haiku-4-5"));
        let haiku = prices.of("claude-haiku-5-5").unwrap();
        assert_eq!(haiku.of(&tokens(100_000, 1_000_000)), 10_000 + 500_000);
        assert_eq!(haiku.of(&tokens(100_001, 1_000_000)), 50_001 + 2_500_000);
        assert_eq!(sonnet.of(&tokens(u64::MAX, u64::MAX)), u64::MAX, "no overflow");
    }

    #[test]
    fn what_tokens_may_cost_at_most_is_no_less_than_what_any_of_them_cost() {
        let rates = r#"{"m": {"input": 3, "output": 15, "cache_read": 4, "cache_write": 2, "cache_write_1h": 6}}"#;
        let prices = Prices::parse(rates).unwrap();
        let model = prices.of("m").unwrap();
        let read = 1_000_000;
        let written = Tokens { cache_write: read, output: 1_000_000, ..Tokens::default() };
        assert_eq!(model.at_most(&written), 4_000_000 + 15_000_000, "all of it from the cache");
        let long = Tokens { cache_write_long: read, ..written };
        assert_eq!(model.at_most(&long), 6_000_000 + 15_000_000, "kept for an hour");
        assert_eq!(model.at_most(&tokens(u64::MAX, u64::MAX)), u64::MAX, "no overflow");
    }

    #[test]
    fn a_model_that_is_only_like_another_has_no_price() {
        let prices = Prices::parse("{}").unwrap();
        for unknown in
            ["claude-opus-4-9", "claude-opus", "gpt-5-", "", "gpt-5-20250", "x-2025-01-01"]
        {
            assert_eq!(prices.of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_setting_adds_and_replaces() {
        let prices = Prices::parse(
            r#"{"llama-3": {"input": 0.5, "output": 1}, "gpt-5": {"input": 1, "output": 2}}"#,
        );
        let prices = prices.unwrap();
        assert_eq!(prices.of("llama-3").unwrap().of(&tokens(1_000_000, 1_000_000)), 1_500_000);
        assert_eq!(prices.of("gpt-5").unwrap().of(&tokens(0, 1_000_000)), 2_000_000);
        assert!(prices.of("gpt-4o").is_some(), "the rest stays");
        for bad in [
            "",
            "[]",
            r#"{"a":1}"#,
            r#"{"a":{"input":-1,"output":1}}"#,
            r#"{"a":{"input":1}}"#,
            r#"{"a":{"input":1,"output":1,"ouptut":2}}"#,
            r#"{"a":{"input":1e99,"output":1}}"#,
        ] {
            assert!(Prices::parse(bad).is_none(), "{bad}");
        }
    }
}
