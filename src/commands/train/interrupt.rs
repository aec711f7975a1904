use std::io;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// What shells report for a command that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;

/// Whether somebody wants the run to stop: Ctrl-C or SIGTERM. While there is something to keep ([`Self::keeping`]) the
/// first time only asks; at any other time, and the second time, it ends the process at once.
#[derive(Clone)]
pub struct Interrupt(Arc<Flags>);

#[derive(Default)]
struct Flags {
    asked: AtomicBool,
    keeping: AtomicBool,
}

/// Until it is dropped there is something to keep.
pub struct Keeping<'a>(&'a Flags);

impl Interrupt {
    /// Listens from now on; a process listens once.
    pub fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let flags = Arc::new(Flags::default());
        let shared = flags.clone();
        let listen = async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if shared.asked.swap(true, Ordering::SeqCst) || !shared.keeping.load(Ordering::SeqCst) {
                    eprintln!("stopped at once; what was kept is there: go on with --resume");
                    exit(INTERRUPTED.into());
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(listen))?;
        Ok(Self(flags))
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// From now on there is something to keep before the process ends.
    pub fn keeping(&self) -> Keeping<'_> {
        self.0.keeping.store(true, Ordering::SeqCst);
        Keeping(&self.0)
    }
}

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        self.0.keeping.store(false, Ordering::SeqCst);
    }
}
