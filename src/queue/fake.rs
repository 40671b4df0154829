//! A queue without a kernel: a test puts packets in, reads their verdicts, and makes its thread fail.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::error::QueueError;
use super::interface::{Queue, QueueBinding, QueueCounters};
use super::shutter::{ShutProgress, Shutter};
use crate::verdict::Verdict;

/// The queue, as its thread has it.
pub(crate) struct FakeQueue {
    side: Arc<FakeSide>,
    binding: QueueBinding,
    /// Each message to the kernel arrives here, and ends a wait.
    messages: UnixDatagram,
    /// In the place of the netlink socket.
    socket: OwnedFd,
    shut: Arc<ShutProgress>,
    batch: Vec<Vec<u8>>,
}

/// The queue, as the test has it.
#[derive(Default)]
pub(crate) struct FakeSide {
    state: Mutex<FakeState>,
    /// A thread is no longer to hang.
    freed: Condvar,
    /// Wakes the thread.
    waker: Option<UnixDatagram>,
    /// Has messages arrive somewhere when the thread is gone, as a kernel does.
    _kernel: Option<UnixDatagram>,
}

#[derive(Default)]
struct FakeState {
    packets: VecDeque<Vec<u8>>,
    received: u64,
    verdicts: Vec<Verdict>,
    fault: Option<FakeFault>,
    counters: QueueCounters,
}

/// The error that the queue's thread meets at its next wait for packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FakeFault {
    /// It does not come back, until the test [frees](FakeSide::free) it.
    Hang,
    /// It panics.
    Panic,
    /// The kernel's answer is an error.
    Error,
}

impl FakeQueue {
    /// A bound queue, and the test's side of it.
    pub(crate) fn new(binding: QueueBinding) -> (Self, Arc<FakeSide>) {
        let (messages, socket) = UnixDatagram::pair().unwrap();
        let waker = Some(socket.try_clone().unwrap());
        let kernel = Some(messages.try_clone().unwrap());
        let side = Arc::new(FakeSide { waker, _kernel: kernel, ..FakeSide::default() });
        let (shut, batch) = (Arc::default(), Vec::new());
        let socket = OwnedFd::from(socket);
        (Self { side: Arc::clone(&side), binding, messages, socket, shut, batch }, side)
    }
}

impl Queue for FakeQueue {
    fn receive(&mut self) -> Result<usize, QueueError> {
        loop {
            let mut state = self.side.state();
            match state.fault {
                Some(FakeFault::Hang) => {
                    let hangs = |state: &mut FakeState| state.fault == Some(FakeFault::Hang);
                    drop(self.side.freed.wait_while(state, hangs).unwrap());
                    continue;
                }
                Some(FakeFault::Panic) => {
                    drop(state);
                    panic!("as the test wants it");
                }
                Some(FakeFault::Error) => {
                    return Err(QueueError::NetworkDown { queue: self.binding.queue });
                }
                None => {}
            }
            if self.shut.is_released() {
                return Ok(0);
            }
            self.batch = state.packets.drain(..).collect();
            state.received += self.batch.len() as u64;
            drop(state);
            if !self.batch.is_empty() || self.shut.begun.load(Ordering::SeqCst) {
                return Ok(self.batch.len());
            }
            self.messages.recv(&mut [0; 256]).unwrap();
        }
    }

    fn packet(&self, index: usize) -> &[u8] {
        self.batch.get(index).map_or(&[], Vec::as_slice)
    }

    fn answer(&mut self, verdicts: &[Verdict]) -> Result<(), QueueError> {
        if verdicts.len() != self.batch.len() {
            return Err(QueueError::Count { verdicts: verdicts.len(), packets: self.batch.len() });
        }
        self.side.state().verdicts.extend(verdicts);
        Ok(())
    }

    fn shutter(&self) -> Result<Shutter, QueueError> {
        Shutter::new(&self.socket, self.binding.queue, false, &self.shut)
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn counters(&self) -> QueueCounters {
        self.side.state().counters
    }

    fn binding(&self) -> QueueBinding {
        self.binding
    }
}

impl FakeSide {
    /// Puts packets in.
    pub(crate) fn put(&self, packets: impl IntoIterator<Item = Vec<u8>>) {
        self.state().packets.extend(packets);
        self.wake();
    }

    /// The verdicts so far.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        self.state().verdicts.clone()
    }

    /// Packets that have no verdict yet.
    pub(crate) fn waiting(&self) -> u64 {
        let state = self.state();
        state.packets.len() as u64 + state.received - state.verdicts.len() as u64
    }

    /// Makes the thread run into a fault.
    pub(crate) fn fail(&self, fault: FakeFault) {
        self.state().fault = Some(fault);
        self.wake();
    }

    /// Lets a thread that hangs go on.
    pub(crate) fn free(&self) {
        self.state().fault = None;
        self.freed.notify_all();
    }

    /// Sets the counts of messages beside packets.
    pub(crate) fn count(&self, counters: QueueCounters) {
        self.state().counters = counters;
    }

    fn wake(&self) {
        // The queue may be gone.
        let _ = self.waker.as_ref().map(|waker| waker.send(b"wake"));
    }

    fn state(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().unwrap()
    }
}
