//! The words of messages, as SQLite's full-text index keeps them. The counter says up to which message they are there;
//! the triggers of the table rely on it.

use rusqlite::{Connection, OptionalExtension};

/// The newest message whose words are not in the index, if there is one.
pub(crate) fn newest_left(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(
        "SELECT max(seq) FROM messages WHERE seq > (SELECT value FROM counters WHERE name = 'words')",
    )?
    .query_row([], |row| row.get(0))
}

/// Indexes the oldest messages that are not in the index, up to `last` and at most `most` of them. Whether more are left.
pub(crate) fn index(conn: &Connection, last: i64, most: u32) -> rusqlite::Result<bool> {
    let taken: Option<i64> = conn
        .prepare_cached(
            "SELECT max(seq) FROM (
                 SELECT seq FROM messages WHERE seq <= ?1
                     AND seq > (SELECT value FROM counters WHERE name = 'words')
                 ORDER BY seq LIMIT ?2)",
        )?
        .query_row((last, most), |row| row.get(0))
        .optional()?
        .flatten();
    let Some(taken) = taken else { return Ok(false) };
    conn.prepare_cached(
        "INSERT INTO messages_words (rowid, content) SELECT seq, content FROM messages
         WHERE seq <= ?1 AND seq > (SELECT value FROM counters WHERE name = 'words') ORDER BY seq",
    )?
    .execute([taken])?;
    conn.prepare_cached("UPDATE counters SET value = ?1 WHERE name = 'words'")?.execute([taken])?;
    Ok(taken < last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MIGRATIONS;
    use db::Migration;

    fn say(conn: &Connection, text: &str) {
        conn.execute(
            "INSERT INTO messages (id, chat_jid, outbound, sender, content, verb, thread, topic, disposition,
                 is_group, sent_at, received_at, rule)
             VALUES (?1, 'web:a', 1, 'agent', ?1, 'message', '', '', 'said', 0, 1, 1, '')",
            [text],
        )
        .unwrap();
    }

    fn edit(conn: &Connection, from: &str, to: &str) {
        let sql = "UPDATE messages SET content = ?2 WHERE content = ?1";
        assert_eq!(conn.execute(sql, [from, to]).unwrap(), 1);
    }

    fn found(conn: &Connection, word: &str) -> Vec<i64> {
        let sql = "SELECT rowid FROM messages_words WHERE messages_words MATCH ?1 ORDER BY rowid";
        let mut all = conn.prepare(sql).unwrap();
        all.query_map([word], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// SQLite compares the index with the table, once all of it should be there.
    fn check(conn: &Connection) {
        let sql = "INSERT INTO messages_words (messages_words, rank) VALUES ('integrity-check', 1)";
        conn.execute_batch(sql).unwrap();
    }

    #[test]
    fn what_changes_before_and_after_it_is_indexed_is_found_as_it_is_in_the_end() {
        let conn = Connection::open_in_memory().unwrap();
        let (before, since): (Vec<&Migration>, Vec<&Migration>) =
            MIGRATIONS.iter().partition(|step| step.version < 15);
        before.iter().for_each(|step| conn.execute_batch(step.sql).unwrap());
        say(&conn, "old");
        // Whatever a database held when it was moved forward is indexed already.
        since.iter().for_each(|step| conn.execute_batch(step.sql).unwrap());
        assert_eq!(newest_left(&conn).unwrap(), None);

        ["red", "green", "blue", "gone"].iter().for_each(|text| say(&conn, text));
        edit(&conn, "red", "rose");
        conn.execute("DELETE FROM messages WHERE content = 'gone'", []).unwrap();
        assert_eq!(found(&conn, "red OR rose"), [0_i64; 0], "its turn has not come");
        assert_eq!(newest_left(&conn).unwrap(), Some(4));
        assert!(index(&conn, 4, 2).unwrap(), "one is left");
        assert_eq!((found(&conn, "rose"), found(&conn, "blue")), (vec![2], vec![]));
        edit(&conn, "green", "olive");
        edit(&conn, "blue", "navy");
        edit(&conn, "old", "ancient");
        assert!(!index(&conn, 4, 2).unwrap());
        assert!(!index(&conn, 4, 2).unwrap(), "nothing is indexed twice");

        for (word, rows) in
            [("ancient", vec![1]), ("rose", vec![2]), ("olive", vec![3]), ("navy", vec![4])]
        {
            assert_eq!(found(&conn, word), rows, "{word}");
        }
        for word in ["old", "red", "green", "blue", "gone"] {
            assert_eq!(found(&conn, word), [0_i64; 0], "{word}");
        }
        check(&conn);
        conn.execute("DELETE FROM messages WHERE content = 'rose'", []).unwrap();
        check(&conn);
    }
}
