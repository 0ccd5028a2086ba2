//! Progress on stderr: only on a terminal, and only for work that takes more than a second.

use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that takes less time than this shows no progress.
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// Work in progress, shown until dropped.
pub(super) struct Progress {
    reporter: Reporter,
    /// The thread that shows the bar once [`PATIENCE`] is over. Dropping the sender wakes it.
    waiting: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Starts showing the progress of a piece of work.
    pub(super) fn start(doing: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(style("{spinner} {msg} {elapsed}"));
        bar.set_message(doing);
        let waiting = stderr()
            .is_terminal()
            .then(|| show_later(bar.clone()))
            .flatten();
        Progress {
            reporter: Reporter(bar),
            waiting,
        }
    }

    /// A handle through which the code that does the work reports its progress.
    pub(super) fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.waiting.take() {
            drop(sender);
            let _ = thread.join();
        }
        self.reporter.0.finish_and_clear();
    }
}

/// Reports progress.
#[derive(Debug, Clone)]
pub(super) struct Reporter(ProgressBar);

impl Reporter {
    /// Sets what is being done now.
    pub(super) fn doing(&self, message: &'static str) {
        self.0.set_message(message);
    }

    /// Sets how much of it is done.
    pub(super) fn done(&self, done: u64, total: u64) {
        if self.0.length() != Some(total) {
            self.0
                .set_style(style("{spinner} {msg} [{bar:30}] {percent}%"));
            self.0.set_length(total);
        }
        self.0.set_position(done.min(total));
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn show_later(bar: ProgressBar) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (sender, receiver) = channel::<()>();
    let wait = move || {
        if receiver.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
        }
    };
    // If the thread cannot be started, no progress is shown, and nothing else changes.
    Builder::new()
        .name("progress".to_owned())
        .spawn(wait)
        .ok()
        .map(|thread| (sender, thread))
}
