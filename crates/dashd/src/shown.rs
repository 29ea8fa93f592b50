//! How times, amounts and texts are written. Pure.

use maud::{Markup, html};
use proto::Timestamp;

/// A point in time, to the second, in UTC.
pub(crate) fn time(at: Timestamp) -> Markup {
    let whole = at.to_string();
    let short = whole.get(..19).unwrap_or(&whole).replace('T', " ");
    html! { time datetime=(whole) { (short) } }
}

/// How long something is or was, in its largest unit that says enough.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The time that is left, as a clock that runs down.
pub(crate) fn countdown(seconds: u64) -> String {
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    if minutes < 60 {
        return format!("{minutes}:{seconds:02}");
    }
    format!("{}:{:02}:{seconds:02}", minutes / 60, minutes % 60)
}

/// Millionths of a dollar as dollars, to the hundredth of a cent.
pub(crate) fn dollars(micro: u64) -> String {
    let hundredths = micro.div_ceil(100);
    format!("${}.{:04}", grouped(hundredths / 10_000), hundredths % 10_000)
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The beginning of a text.
pub(crate) fn head(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(characters.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The end of a text, which is where versions and paths differ.
pub(crate) fn tail(text: &str, characters: usize) -> String {
    let count = text.chars().count();
    if count <= characters {
        return text.to_owned();
    }
    let end: String = text.chars().skip(count + 1 - characters).collect();
    format!("…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_read_them() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
        for (seconds, text) in [(0, "0:00"), (299, "4:59"), (3_600, "1:00:00")] {
            assert_eq!(countdown(seconds), text);
        }
        for (micro, text) in [
            (0, "$0.0000"),
            (1, "$0.0001"),
            (1_234_500, "$1.2345"),
            (12_345_000_000, "$12,345.0000"),
        ] {
            assert_eq!(dollars(micro), text);
        }
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(head("ärger", 5), "ärger");
        assert_eq!(head("ärgerlich", 5), "ärge…");
        assert_eq!(tail("/a/b/ärger", 5), "…rger");
        assert_eq!(
            time(Timestamp(1_700_000_000_123)).into_string(),
            "<time datetime=\"2023-11-14T22:13:20.123Z\">2023-11-14 22:13:20</time>"
        );
    }
}
