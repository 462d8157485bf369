//! The few threads that encode and decode video, shared by every engine of the process.
//!
//! Work is queued per lane: one lane's jobs run one after another, in order; different lanes run at the same time.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::events::lock;

type Job = Box<dyn FnOnce() + Send>;
type OnPanic = Box<dyn Fn(String) + Send + Sync>;

/// A sequence of jobs. Dropping it lets a running job finish and forgets the rest.
pub struct Lane {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    on_panic: OnPanic,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    running: bool,
    closed: bool,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Lane").field("queued", &self.queued()).finish()
    }
}

impl Lane {
    /// `on_panic` is told what a job that panicked said; the lane is closed then.
    pub fn new(on_panic: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), on_panic: Box::new(on_panic) }) }
    }

    /// Run `job` after those given before it.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.shared.state);
        if state.closed {
            return;
        }
        state.jobs.push_back(Box::new(job));
        if !state.running {
            state.running = true;
            schedule(Arc::clone(&self.shared));
        }
    }

    /// Jobs that have not begun.
    pub fn queued(&self) -> usize {
        lock(&self.shared.state).jobs.len()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        state.jobs.clear();
    }
}

fn schedule(lane: Arc<Shared>) {
    // With the process that has the threads: a forked child needs its own.
    static POOL: Mutex<Option<(u32, Sender<Arc<Shared>>)>> = Mutex::new(None);
    let process = std::process::id();
    let mut pool = lock(&POOL);
    if pool.as_ref().is_none_or(|(owner, _)| *owner != process) {
        *pool = Some((process, start_threads()));
    }
    if let Some((_, sender)) = &*pool {
        let _ = sender.send(lane);
    }
}

fn start_threads() -> Sender<Arc<Shared>> {
    let (sender, receiver) = unbounded();
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(8));
    for index in 0..threads {
        let receiver: Receiver<Arc<Shared>> = receiver.clone();
        // Without this thread the others do the work; without any, video stands still and audio goes on.
        let _ = std::thread::Builder::new().name(format!("greenroom-codec-{index}")).spawn(move || {
            be_ordinary();
            receiver.iter().for_each(|lane| run_one(&lane));
        });
    }
    sender
}

/// Threads inherit the niceness of the one that starts them, which may be an engine's: take the main thread's instead.
fn be_ordinary() {
    if let Ok(niceness) = rustix::process::getpriority_process(Some(rustix::process::getpid())) {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), niceness);
    }
}

fn run_one(lane: &Arc<Shared>) {
    let Some(job) = lock(&lane.state).jobs.pop_front() else {
        lock(&lane.state).running = false;
        return;
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(job)) {
        let mut state = lock(&lane.state);
        state.closed = true;
        state.jobs.clear();
        drop(state);
        (lane.on_panic)(panic_message(&*panic));
    }
    let mut state = lock(&lane.state);
    if state.jobs.is_empty() {
        state.running = false;
    } else {
        drop(state);
        schedule(Arc::clone(lane));
    }
}

/// The text of a caught panic.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown panic".to_owned())
}
