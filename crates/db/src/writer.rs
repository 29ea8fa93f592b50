//! The one thread that writes: everything that waits goes into one transaction.

use std::cell::RefCell;
use std::ops::{ControlFlow, Deref};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::connect;
use crate::error::Error;
use crate::lock::OwnerLock;
use crate::stats::Counters;

/// Jobs that one transaction takes at most.
const BATCH: usize = 256;
/// Work after which a transaction is committed though more is waiting: the first job of it should not wait long.
const SPAN: Duration = Duration::from_millis(5);
/// A job that holds the writer this long is named in the log.
const SLOW: Duration = Duration::from_millis(250);

type Effect = Box<dyn FnOnce() + Send>;

/// The write transaction, as one job sees it: a [`Connection`] inside a savepoint of the job's own.
///
/// A job must not say `BEGIN`, `COMMIT` or `ROLLBACK`; it returns an error to be undone.
pub struct Tx<'a> {
    conn: &'a Connection,
    effects: RefCell<Vec<Effect>>,
}

impl Tx<'_> {
    /// Runs `effect` on the writer thread once this job is on the disk, before its caller is told; never when it was
    /// undone. For short things that do not block: waking whoever should look at what was written.
    pub fn after_commit(&self, effect: impl FnOnce() + Send + 'static) {
        self.effects.borrow_mut().push(Box::new(effect));
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn
    }
}

/// What a job left behind until the batch's fate is known.
struct Ran {
    label: &'static str,
    keep: bool,
    effects: Vec<Effect>,
    /// Tells the caller: its own result when the commit went well, the error otherwise. Also a failure of its own is
    /// only true when the commit went well: a row may have been refused because of one that is not there now.
    tell: Box<dyn FnOnce(Result<(), Error>) + Send>,
}

type Run = Box<dyn FnOnce(Result<&Tx<'_>, Error>) -> Ran + Send>;

/// A unit of work on its way to the writer.
pub(crate) struct Job {
    label: &'static str,
    /// Given an error instead of a transaction, it does nothing and passes the error on.
    run: Run,
}

/// What the writer's queue carries.
pub(crate) enum Command {
    /// Do this.
    Write(Job),
    /// Move the log into the file and cut it to nothing.
    EmptyLog(oneshot::Sender<Result<(), Error>>),
    /// Finish what is queued, close the file, and say so.
    Close(oneshot::Sender<()>),
}

impl Job {
    /// Wraps `work`, and gives the place where its answer will appear.
    pub(crate) fn new<T, E, F>(
        label: &'static str,
        work: F,
    ) -> (Self, oneshot::Receiver<Result<T, E>>)
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run: Run = Box::new(move |tx| {
            let result = match tx {
                Ok(tx) => catch_unwind(AssertUnwindSafe(|| work(tx)))
                    .unwrap_or_else(|_| Err(E::from(Error::Panicked { label }))),
                Err(ref error) => Err(E::from(error.clone())),
            };
            let keep = result.is_ok();
            let effects = tx.map(|tx| tx.effects.take()).unwrap_or_default();
            let tell = Box::new(move |committed: Result<(), Error>| {
                let answer = committed.map_err(E::from).and(result);
                if reply.send(answer).is_err() {
                    tracing::debug!(label, "nobody waited for this write any more");
                }
            });
            Ran { label, keep, effects, tell }
        });
        (Self { label, run }, answer)
    }

    /// Tells the caller that its job will not be run.
    fn refuse(self, error: Error) {
        ((self.run)(Err(error)).tell)(Ok(()));
    }
}

/// What the writer shows of itself.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) counters: Counters,
    /// Why the last transaction failed; none when it did not.
    pub(crate) trouble: Mutex<Option<String>>,
}

impl Shown {
    /// Why the last transaction failed; none when it did not.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn trouble_is(&self, what: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

/// The writer thread's state.
pub(crate) struct Writer {
    path: PathBuf,
    queue: mpsc::Receiver<Command>,
    shown: Arc<Shown>,
    conn: Connection,
    lock: OwnerLock,
    /// Who asked for an empty log, and who for the end; both wait for the batch that is running.
    emptying: Vec<oneshot::Sender<Result<(), Error>>>,
    closing: Option<oneshot::Sender<()>>,
}

impl Writer {
    pub(crate) fn new(
        path: PathBuf,
        queue: mpsc::Receiver<Command>,
        shown: Arc<Shown>,
        conn: Connection,
        lock: OwnerLock,
    ) -> Self {
        Self { path, queue, shown, conn, lock, emptying: Vec::new(), closing: None }
    }

    /// Works until the queue is closed or the file can no longer be used.
    pub(crate) fn run(mut self) {
        while let Some(command) = self.queue.blocking_recv() {
            if let Some(job) = self.sort(command)
                && self.batch(job).is_break()
            {
                tracing::error!(path = %self.path.display(), "the database writer stops");
                break;
            }
            for asked in std::mem::take(&mut self.emptying) {
                let emptied = self.empty_log();
                if asked.send(emptied).is_err() {
                    tracing::debug!("nobody waited for the empty log any more");
                }
            }
        }
        self.finish();
    }

    fn finish(mut self) {
        self.queue.close();
        while let Ok(command) = self.queue.try_recv() {
            if let Command::Write(job) = command {
                job.refuse(Error::Closed);
            }
        }
        let path = self.path.display();
        if let Err(error) = self.empty_log() {
            // The log is read at the next start, so nothing is lost.
            tracing::warn!(%path, %error, "the log could not be emptied on closing");
        }
        if let Err((_, error)) = self.conn.close() {
            tracing::warn!(%path, %error, "the database did not close cleanly");
        }
        // Only a closed file is given up.
        drop(self.lock);
        if let Some(done) = self.closing
            && done.send(()).is_err()
        {
            tracing::debug!("nobody waited for the database to close any more");
        }
    }

    fn empty_log(&self) -> Result<(), Error> {
        // Nobody's write should wait until some read has ended.
        self.conn.busy_timeout(Duration::ZERO)?;
        let busy = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        self.conn.busy_timeout(connect::BUSY)?;
        let busy: bool = busy?;
        if busy {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            let what = Some("a reader still needs the log".to_owned());
            return Err(rusqlite::Error::SqliteFailure(code, what).into());
        }
        Ok(())
    }

    /// Gives a job back, and remembers what is not one.
    fn sort(&mut self, command: Command) -> Option<Job> {
        match command {
            Command::Write(job) => return Some(job),
            Command::EmptyLog(asked) => self.emptying.push(asked),
            Command::Close(done) => {
                self.queue.close();
                self.closing.get_or_insert(done);
            }
        }
        None
    }

    /// The next job, if one is waiting already.
    fn waiting(&mut self) -> Option<Job> {
        loop {
            let command = self.queue.try_recv().ok()?;
            if let Some(job) = self.sort(command) {
                return Some(job);
            }
        }
    }

    /// Runs `first` and what waits behind it as one transaction.
    fn batch(&mut self, first: Job) -> ControlFlow<()> {
        if let Err(error) = self.conn.execute_batch("BEGIN IMMEDIATE") {
            return self.refuse_waiting(first, Error::of_batch(error));
        }
        let started = Instant::now();
        let mut done = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            let (ran, whole) = self.one(job);
            if !whole {
                return self.lost(done, ran);
            }
            done.push(ran);
            if done.len() >= BATCH || started.elapsed() >= SPAN {
                break;
            }
            next = self.waiting();
        }
        let committing = Instant::now();
        match self.conn.execute_batch("COMMIT") {
            Ok(()) => {
                self.report(done, committing.elapsed());
                ControlFlow::Continue(())
            }
            Err(error) => self.give_up(done, Error::of_batch(error)),
        }
    }

    /// Runs one job in its savepoint. False when the transaction did not survive it.
    fn one(&self, job: Job) -> (Ran, bool) {
        let started = Instant::now();
        let tx = Tx { conn: &self.conn, effects: RefCell::default() };
        if let Err(error) = self.say("SAVEPOINT _db_job") {
            return ((job.run)(Err(Error::of_batch(error))), false);
        }
        let ran = (job.run)(Ok(&tx));
        let took = started.elapsed();
        if took >= SLOW {
            tracing::warn!(label = job.label, ?took, "a database job held the writer");
        }
        let ended: &[&str] = if ran.keep {
            &["RELEASE _db_job"]
        } else {
            &["ROLLBACK TO _db_job", "RELEASE _db_job"]
        };
        let whole = !self.conn.is_autocommit()
            && ended.iter().all(|sql| self.say(sql).is_ok())
            && !self.conn.is_autocommit();
        (ran, whole)
    }

    /// What is said for each job is planned once.
    fn say(&self, sql: &str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    fn report(&self, done: Vec<Ran>, took: Duration) {
        let kept = done.iter().filter(|ran| ran.keep).count();
        self.shown.counters.committed(kept, done.len() - kept, took);
        self.shown.trouble_is(None);
        for ran in done {
            let effects = if ran.keep { ran.effects } else { Vec::new() };
            for effect in effects {
                if catch_unwind(AssertUnwindSafe(effect)).is_err() {
                    tracing::error!(label = ran.label, "what follows a commit panicked");
                }
            }
            (ran.tell)(Ok(()));
        }
    }

    /// The transaction ended under `last`: by SQLite on a grave error, which is then what `last` failed with.
    fn lost(&self, mut done: Vec<Ran>, last: Ran) -> ControlFlow<()> {
        if last.keep {
            done.push(last);
        } else {
            (last.tell)(Ok(()));
        }
        self.give_up(done, Error::transaction_lost())
    }

    /// The transaction failed: nothing of it is kept, and everyone in it is told.
    fn give_up(&self, done: Vec<Ran>, error: Error) -> ControlFlow<()> {
        self.note(&error);
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            let path = self.path.display();
            tracing::error!(%path, %error, "a transaction could not be undone");
        }
        for ran in done {
            (ran.tell)(Err(error.clone()));
        }
        self.usable()
    }

    /// No transaction could be begun: the same would be said to everyone who waits, each after a long wait.
    fn refuse_waiting(&mut self, first: Job, error: Error) -> ControlFlow<()> {
        self.note(&error);
        first.refuse(error.clone());
        let mut told = 1;
        while told < BATCH
            && let Some(job) = self.waiting()
        {
            job.refuse(error.clone());
            told += 1;
        }
        self.usable()
    }

    fn note(&self, error: &Error) {
        self.shown.counters.not_committed();
        self.shown.trouble_is(Some(error.to_string()));
        let path = self.path.display();
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(%path, %error, cause, "a transaction was not committed");
    }

    /// A connection that is stuck inside a transaction cannot be trusted any more.
    fn usable(&self) -> ControlFlow<()> {
        if self.conn.is_autocommit() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}
