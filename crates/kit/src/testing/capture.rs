//! What a test's own thread logs.
//!
//! One subscriber for the whole process: with one for each thread, a line that another test reaches
//! first is taken for one that nobody wants (`tracing` decides that once for each line of code).

use std::{
    cell::RefCell,
    io,
    sync::{Arc, Mutex, Once},
};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

thread_local! {
    static MINE: RefCell<Option<Lines>> = const { RefCell::new(None) };
}

/// What was logged, as JSON lines.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Captures what this thread logs from now on. The first call in a process sets its filter.
    pub fn capture(filter: &'static str) -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing_subscriber::fmt()
                .json()
                .with_env_filter(EnvFilter::new(filter))
                .with_writer(ToThread)
                .init();
        });
        let lines = Self::default();
        MINE.set(Some(lines.clone()));
        lines
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

struct ToThread;

impl<'a> MakeWriter<'a> for ToThread {
    type Writer = Line;
    fn make_writer(&'a self) -> Line {
        Line(MINE.with_borrow(Clone::clone))
    }
}

struct Line(Option<Lines>);

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(Lines(lines)) = &self.0 {
            lines.lock().unwrap().extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
