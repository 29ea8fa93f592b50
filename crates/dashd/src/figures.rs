//! Figures of a daemon, read from what it tells Prometheus (OpenMetrics 1.0). Pure.

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    /// Its name, without the suite's own prefix.
    pub(crate) name: String,
    /// What it is of.
    pub(crate) labels: Vec<(String, String)>,
    /// As it is written.
    pub(crate) value: String,
}

/// The figures whose name has `part` in it. Steps of histograms are left out: their counts and sums say enough here.
pub(crate) fn read(text: &str, part: &str) -> Vec<Figure> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let figures = lines.filter_map(line).filter(|figure| !figure.name.ends_with("_bucket"));
    figures.filter(|figure| figure.name.contains(part)).collect()
}

fn line(line: &str) -> Option<Figure> {
    let (name, rest) = match line.find(['{', ' ']) {
        Some(at) => line.split_at(at),
        None => return None,
    };
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.to_owned();
    let name = name.strip_prefix("arizuko_").unwrap_or(name).to_owned();
    Some(Figure { name, labels, value })
}

/// The labels up to the closing brace, and what comes after it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.push((name.to_owned(), value));
        rest = quoted.get(end + 1..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_they_are_written() {
        let text = "# HELP arizuko_turns Turns.\n# TYPE arizuko_turns counter\n\
            arizuko_turns_total{outcome=\"answered\",why=\"a \\\"b\\\" }, c\"} 3\n\
            arizuko_outbox_pending 0\narizuko_wait_bucket{le=\"1\"} 2\nbroken{a=\"\n\n# EOF\n";
        let all = read(text, "");
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!((all[0].name.as_str(), all[0].value.as_str()), ("turns_total", "3"));
        let labels = [("outcome", "answered"), ("why", "a \"b\" }, c")];
        assert_eq!(all[0].labels, labels.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(read(text, "outbox")[0].value, "0");
    }
}
