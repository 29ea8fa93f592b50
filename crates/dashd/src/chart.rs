//! Small charts, drawn here: no script, and what they show is in their text as well. Pure.

use maud::{Markup, html};

/// One bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: u64,
    /// The value, as it is written.
    pub(crate) shown: String,
}

const WIDTH: u64 = 640;
const HEIGHT: u64 = 160;
/// Room for the names below the bars.
const FOOT: u64 = 22;

/// Bars beside each other, for days. The picture scales with the page.
pub(crate) fn columns(label: &str, bars: &[Bar]) -> Markup {
    let Some(most) = bars.iter().map(|bar| bar.value).max().filter(|most| *most > 0) else {
        return html! { p.empty { "There is nothing to draw." } };
    };
    let count = u64::try_from(bars.len()).unwrap_or(1).max(1);
    let (slot, tall) = (WIDTH / count, HEIGHT - FOOT - 4);
    let wide = (slot * 7 / 10).clamp(2, 64);
    // Names that would run into each other are left out, from the first on.
    let every = bars.len().div_ceil(8).max(1);
    html! {
        figure.chart {
            figcaption { (label) }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(spoken(label, bars)) {
                line.axis x1="0" x2=(WIDTH) y1=(HEIGHT - FOOT) y2=(HEIGHT - FOOT) {}
                @for (at, bar) in (0u64..).zip(bars) {
                    @let height = scaled(bar.value, most, tall);
                    @let left = at * slot + (slot - wide.min(slot)) / 2;
                    rect.bar x=(left) y=(HEIGHT - FOOT - height) width=(wide) height=(height) rx="2" {
                        title { (bar.name) ": " (bar.shown) }
                    }
                    @if (bars.len() - 1).saturating_sub(usize::try_from(at).unwrap_or(0)) % every == 0 {
                        text.name x=(left + wide / 2) y=(HEIGHT - 6) text-anchor="middle" { (bar.name) }
                    }
                }
            }
        }
    }
}

/// Bars below each other, for names. What they stand for is beside them, as text.
pub(crate) fn rows(label: &str, bars: &[Bar]) -> Markup {
    let Some(most) = bars.iter().map(|bar| bar.value).max().filter(|most| *most > 0) else {
        return html! { p.empty { "There is nothing to draw." } };
    };
    html! {
        figure.chart {
            figcaption { (label) }
            ul.bars {
                @for bar in bars {
                    li {
                        span { (bar.name) }
                        svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                            rect.bar x="0" y="0" height="8" width=(scaled(bar.value, most, 100)) {}
                        }
                        strong { (bar.shown) }
                    }
                }
            }
        }
    }
}

/// How much of a limit is used.
pub(crate) fn meter(name: &str, used: u64, limit: u64, shown: fn(u64) -> String) -> Markup {
    let part = scaled(used, limit.max(1), 100);
    let class = if used >= limit { "bar bad" } else { "bar" };
    html! {
        span { (name) }
        svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.ground x="0" y="0" height="8" width="100" {}
            rect class=(class) x="0" y="0" height="8" width=(part) {}
        }
        strong { (shown(used)) " of " (shown(limit)) }
    }
}

/// `value` of `most`, on a scale that long; what is there is seen.
fn scaled(value: u64, most: u64, length: u64) -> u64 {
    let whole = u128::from(value.min(most)) * u128::from(length) / u128::from(most);
    let whole = u64::try_from(whole).unwrap_or(length);
    if value > 0 { whole.max(1) } else { 0 }
}

fn spoken(label: &str, bars: &[Bar]) -> String {
    let each: Vec<String> = bars.iter().map(|bar| format!("{} {}", bar.name, bar.shown)).collect();
    format!("{label}: {}", each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_seen_and_nothing_leaves_the_picture() {
        assert_eq!(scaled(0, 10, 100), 0);
        assert_eq!(scaled(1, 1_000_000, 100), 1);
        assert_eq!(scaled(u64::MAX, u64::MAX, 100), 100);
        assert_eq!(scaled(20, 10, 100), 100, "over the limit is all of it");
        let bar = |value| Bar { name: "x".into(), value, shown: value.to_string() };
        for count in [1, 2, 31, 400] {
            let bars: Vec<Bar> = (0..count).map(bar).collect();
            let drawn = columns("days", &bars).into_string();
            assert!(!drawn.contains("x=\"-") && !drawn.contains("y=\"-"), "{drawn}");
        }
        assert!(columns("days", &[bar(0)]).into_string().contains("nothing to draw"));
    }
}
