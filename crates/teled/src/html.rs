//! A message in Telegram's HTML. Pure. <https://core.telegram.org/bots/api#html-style>

use adapter::rich::{Block, Kind, Span, Style, gap};

/// Units of UTF-16 that a message has at most, after its markup was read.
pub(crate) const TEXT_MAX: usize = 4_096;
/// The same for what stands under a file.
pub(crate) const CAPTION_MAX: usize = 1_024;
/// Styled parts that a message has at most; further ones would be shown without their style.
const ENTITIES_MAX: usize = 100;

/// A message, written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Html {
    /// With markup.
    pub(crate) html: String,
    /// Without.
    pub(crate) text: String,
    entities: usize,
}

impl Html {
    /// Its length as Telegram counts it.
    pub(crate) fn length(&self) -> usize {
        self.text.encode_utf16().count()
    }
}

/// The length of a message, so that it fits when this is at most `limit`: also by the number of its styled parts.
pub(crate) fn length(blocks: &[Block], limit: usize) -> usize {
    let html = write(blocks);
    html.length().max((html.entities * limit).div_ceil(ENTITIES_MAX))
}

/// Writes a message.
pub(crate) fn write(blocks: &[Block]) -> Html {
    let mut html = Html::default();
    let mut quoted = false;
    for (index, block) in blocks.iter().enumerate() {
        if quoted && !block.quoted {
            html.close("</blockquote>");
        }
        if index > 0 {
            html.push(gap(block));
        }
        if block.quoted && !quoted {
            html.open("<blockquote>");
        }
        quoted = block.quoted;
        html.block(block);
    }
    if quoted {
        html.close("</blockquote>");
    }
    html
}

impl Html {
    fn block(&mut self, block: &Block) {
        match &block.kind {
            Kind::Code { lang: None, text } => self.within(&[("<pre>", "</pre>")], text),
            Kind::Code { lang: Some(lang), text } => {
                // The language has no character that HTML would read.
                let open = format!("<pre><code class=\"language-{lang}\">");
                self.within(&[(open.as_str(), "</code></pre>")], text);
            }
            Kind::Heading(spans) => {
                for span in spans {
                    let style = Style { bold: true, ..span.style.clone() };
                    self.span(&Span { text: span.text.clone(), style });
                }
            }
            Kind::Rule => self.push(&block.text()),
            Kind::Text(_) | Kind::Item { .. } => {
                self.push(&block.lead());
                for span in block.spans().unwrap_or_default() {
                    self.span(span);
                }
            }
        }
    }

    fn span(&mut self, span: &Span) {
        let style = &span.style;
        // Code can be nothing else besides.
        if style.code {
            return self.within(&[("<code>", "</code>")], &span.text);
        }
        let link = style.link.as_deref().map(|link| format!("<a href=\"{}\">", escape(link)));
        let marks = [
            (link.is_some(), link.as_deref().unwrap_or_default(), "</a>"),
            (style.bold, "<b>", "</b>"),
            (style.italic, "<i>", "</i>"),
            (style.strike, "<s>", "</s>"),
        ];
        let marks: Vec<_> =
            marks.iter().filter(|(is, ..)| *is).map(|(_, open, close)| (*open, *close)).collect();
        self.within(&marks, &span.text);
    }

    fn within(&mut self, marks: &[(&str, &str)], text: &str) {
        if text.is_empty() {
            return;
        }
        marks.iter().for_each(|(open, _)| self.open(open));
        self.push(text);
        marks.iter().rev().for_each(|(_, close)| self.close(close));
    }

    fn open(&mut self, tag: &str) {
        self.html.push_str(tag);
        self.entities += 1;
    }

    fn close(&mut self, tag: &str) {
        self.html.push_str(tag);
    }

    fn push(&mut self, text: &str) {
        self.html.push_str(&escape(text));
        self.text.push_str(text);
    }
}

/// Text that HTML reads as itself.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use adapter::{rich::parse, split::split};
    use proptest::prelude::*;

    fn html(markdown: &str) -> String {
        write(&parse(markdown)).html
    }

    #[test]
    fn markdown_becomes_what_telegram_reads() {
        assert_eq!(
            html("# A & B\n**b _c_** `x<y` [l](https://x.example/?a=1&b=\"2\")"),
            "<b>A &amp; B</b>\n\n<b>b </b><b><i>c</i></b> <code>x&lt;y</code> <a href=\"https://x.example/?a=1&amp;b=&quot;2&quot;\">l</a>"
        );
        assert_eq!(
            html("[l](https://x.example/?a=1&b=2)"),
            "<a href=\"https://x.example/?a=1&amp;b=2\">l</a>"
        );
        assert_eq!(
            html("> q **b**\n>\n> ```rs\n> let a;\n> ```\n\nend"),
            "<blockquote>q <b>b</b>\n\n<pre><code class=\"language-rs\">let a;</code></pre></blockquote>\n\nend"
        );
        assert_eq!(html("- a\n- b"), "• a\n• b");
    }

    #[test]
    fn a_message_of_too_many_styles_is_cut() {
        let text = "**a** b ".repeat(150);
        let pieces = split(&parse(&text), TEXT_MAX, |blocks| length(blocks, TEXT_MAX));
        assert!(pieces.len() > 1);
        assert!(pieces.iter().all(|piece| write(piece).entities <= ENTITIES_MAX));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Every tag is closed in the order in which it was opened, and nothing else looks like a tag.
        #[test]
        fn the_tags_of_every_piece_are_balanced(text in "([a-z<>&*_`~\\[\\]()#>|\n -]|\\*\\*|```|http://a/){0,300}") {
            for piece in split(&parse(&text), 60, |blocks| length(blocks, 60)) {
                let html = write(&piece).html;
                let mut open = Vec::new();
                for part in html.split('<').skip(1) {
                    let (tag, _) = part.split_once('>').unwrap();
                    match tag.strip_prefix('/') {
                        Some(name) => prop_assert_eq!(open.pop(), Some(name.to_owned())),
                        None => open.push(tag.split(' ').next().unwrap().to_owned()),
                    }
                }
                prop_assert!(open.is_empty(), "{html}");
            }
        }
    }
}
