//! What the owner of an attachment says, and what is answered.

use std::os::fd::OwnedFd;
use std::sync::Weak;
use std::sync::atomic::Ordering;

use super::super::page::Page;
use super::super::wire::{self, Answer, Challenge, Message, Side, Transcript, Welcome};
use super::{Attachment, Ready, Stage};
use crate::bail;
use crate::error::{Code, Error, Result};
use crate::sys::memory::Mem;
use crate::sys::process::Direction;
use crate::sys::reactor::{Ready as Readiness, Source};
use crate::sys::unix;

/// Packets taken before other work of the worker has its turn.
const PACKETS_AT_ONCE: usize = 32;

impl Attachment {
    fn receive(&self, descriptors: &mut Vec<OwnedFd>) -> Result<Option<Message>> {
        let mut buffer = [0; wire::MAX_PACKET];
        match unix::receive(&self.socket, &mut buffer, descriptors) {
            Ok(None) => Ok(None),
            Ok(Some(0)) => bail!(ConnectionLost, "it closed the same-host connection"),
            Ok(Some(length)) => wire::decode(&buffer[..length]).map(Some),
            Err(error) => bail!(ConnectionLost, "{error}"),
        }
    }

    /// Takes what the owner says; the first error ends the attachment.
    fn listen(&self) {
        for _ in 0..PACKETS_AT_ONCE {
            let mut descriptors = Vec::new();
            let heard = match self.receive(&mut descriptors) {
                Ok(None) => return,
                Ok(Some(message)) => self.heard(message, descriptors.pop()),
                Err(error) => Err(error),
            };
            if let Err(error) = heard {
                return self.fail(error);
            }
        }
    }

    fn heard(&self, message: Message, file: Option<OwnedFd>) -> Result<()> {
        let mut stage = self.stage.lock();
        match (&*stage, message) {
            (_, Message::Refused(refused)) => bail!(Rejected, "it refuses: {}", wire::shorten(&refused.text)),
            (Stage::Greeted(nonce), Message::Challenge(challenge)) => {
                let answer = self.answer(*nonce, &challenge)?;
                *stage = Stage::Answered;
                self.send(Message::Answer(answer))
            }
            (Stage::Answered, Message::Welcome(welcome)) => {
                let Some(file) = file else { bail!(Rejected, "it sent no control page") };
                let page = Page::open(&file)?;
                *stage = Stage::Open;
                drop(stage);
                self.finish(page, &welcome);
                Ok(())
            }
            (Stage::Open, Message::Grant(grant)) => {
                drop(stage);
                self.learn(&grant, file);
                Ok(())
            }
            (Stage::Open, Message::Gone(gone)) => {
                self.regions.forget(gone.key);
                Ok(())
            }
            (_, message) => bail!(Rejected, "it sent {message:?} at the wrong time"),
        }
    }

    fn answer(&self, nonce: [u8; wire::NONCE_LENGTH], challenge: &Challenge) -> Result<Answer> {
        let transcript = Transcript {
            owner: self.theirs,
            peer: self.ours,
            owner_nonce: wire::nonce(&challenge.nonce)?,
            peer_nonce: nonce,
        };
        transcript.check(&self.token, Side::Owner, &challenge.proof)?;
        Ok(Answer { proof: transcript.proof(&self.token, Side::Peer) })
    }

    fn finish(&self, page: Page, welcome: &Welcome) {
        match self.try_cma(welcome) {
            Ok(()) => self.has_cma.store(true, Ordering::Release),
            Err(error) => {
                tracing::info!("no cross-memory attach to {}: {}", self.name(), error.message());
                *self.cma_refusal.lock() = Some(error.message().to_owned());
            }
        }
        if self.ready.set(Ready { page }).is_err() {
            return;
        }
        if let (Some(me), Some(events)) = (self.me.upgrade(), self.events.upgrade()) {
            events.opened(self.theirs, Ok(me));
        }
    }

    /// Reads the secret that the proven owner named from the process that the kernel named.
    fn try_cma(&self, welcome: &Welcome) -> Result<()> {
        if self.process.pid() <= 0 {
            bail!(Unsupported, "its process lives in another pid namespace");
        }
        let secret = [0u8; 16];
        let (_, result) =
            self.process.copy(Direction::In, [(Mem::of(&secret), welcome.secret_address)].into_iter());
        match result {
            Ok(()) if std::hint::black_box(&secret)[..] == welcome.secret[..] => Ok(()),
            Ok(()) => bail!(Rejected, "process {} is not the one that answers", self.process.pid()),
            Err(error) => bail!(
                Unsupported,
                "{error}: allow it with kernel.yama.ptrace_scope=0 or CAP_SYS_PTRACE, between processes of one user"
            ),
        }
    }
}

/// Listens to the owner.
pub(super) struct Connection(pub Weak<Attachment>);

impl Source for Connection {
    fn ready(&self, _: Readiness) {
        if let Some(attachment) = self.0.upgrade() {
            attachment.listen();
        }
    }

    fn broken(&self) {
        if let Some(attachment) = self.0.upgrade() {
            attachment.fail(Error::new(Code::Internal, "its messages broke this library"));
        }
    }
}

/// Waits for the end of the owner's process.
pub(super) struct End(pub Weak<Attachment>);

impl Source for End {
    fn ready(&self, _: Readiness) {
        if let Some(attachment) = self.0.upgrade() {
            attachment.fail(Error::new(Code::ConnectionLost, "its process ended"));
        }
    }

    fn broken(&self) {
        self.ready(Readiness { readable: true, writable: false, hung_up: true, ended: true });
    }
}
