//! Words to look for, as SQLite's full-text index takes them. Pure.
//!
//! What somebody types is words, and never the index's own language: each word is quoted, so that no text is a syntax
//! error and none reaches another column or operator.

/// Bytes of what is looked for, and words of it.
pub(crate) const QUERY_MAX: usize = 1_000;
const WORDS_MAX: usize = 16;

/// The query for messages that have all of these words; a word that ends in `*` stands for all that begin so. `None`
/// where there is no word.
pub(crate) fn words(text: &str) -> Option<String> {
    let mut all = Vec::new();
    for word in text.split_whitespace().take(WORDS_MAX) {
        let (word, prefix) = match word.strip_suffix('*') {
            Some(word) => (word, "*"),
            None => (word, ""),
        };
        // A word without a letter or digit is no word to the index, and would match nothing.
        if word.chars().any(char::is_alphanumeric) {
            let clean: String = word.chars().filter(|c| !c.is_control()).collect();
            all.push(format!("\"{}\"{prefix}", clean.replace('"', "\"\"")));
        }
    }
    (!all.is_empty()).then(|| all.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rusqlite::Connection;

    fn index(texts: &[&str]) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE VIRTUAL TABLE t USING fts5 (content)").unwrap();
        for text in texts {
            conn.execute("INSERT INTO t (content) VALUES (?1)", [text]).unwrap();
        }
        conn
    }

    fn found(conn: &Connection, text: &str) -> rusqlite::Result<Vec<i64>> {
        let Some(query) = words(text) else { return Ok(Vec::new()) };
        conn.prepare("SELECT rowid FROM t WHERE t MATCH ?1 ORDER BY rowid")?
            .query_map([query], |row| row.get(0))?
            .collect()
    }

    #[test]
    fn all_words_must_be_there_and_a_star_ends_a_beginning() {
        let conn = index(&["the red house", "red NEAR house AND OR", "a redder roof"]);
        for (text, rows) in [
            ("red", vec![1, 2]),
            ("house red", vec![1, 2]),
            ("red*", vec![1, 2, 3]),
            ("\"red house\"", vec![1, 2]),
            ("NEAR", vec![2]),
            ("content:red", vec![]),
            ("red NOT house", vec![]),
            ("* \" ()", vec![]),
        ] {
            assert_eq!(found(&conn, text).unwrap(), rows, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_an_error(text in "([\"*^:(){}+-]|AND|NOT|NEAR|\\PC|\\s|\0|[a-z]){0,40}") {
            let conn = index(&["the red house"]);
            prop_assert!(found(&conn, &text).is_ok(), "{text}: {:?}", words(&text));
        }
    }
}
