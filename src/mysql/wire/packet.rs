//! Packets: three bytes of length, one of sequence, the payload (page "MySQL Packets").
//!
//! An [`Exchange`] is one question and its whole answer. It owns the only buffer of a conversation; the next one starts
//! with none. Sequence numbers are checked: a packet of another conversation, or of another protocol, is noticed at once.

use super::error::{self, Error};
use super::transport::Transport;

const HEADER: usize = 4;
/// A payload of this length goes on in the next packet.
const FULL: usize = 0xff_ffff;
/// What a packet costs us besides its bytes; so an answer of empty packets is bounded too.
const PER_PACKET: usize = 64;

/// First bytes of payloads.
pub(super) const OK: u8 = 0x00;
pub(super) const MORE_DATA: u8 = 0x01;
pub(super) const LOCAL_INFILE: u8 = 0xfb;
pub(super) const EOF: u8 = 0xfe;
pub(super) const ERR: u8 = 0xff;

/// One question, and its answer packet by packet.
pub(super) struct Exchange<'t> {
    transport: &'t mut Transport,
    buffer: Vec<u8>,
    /// Start of what was not taken yet.
    at: usize,
    /// A payload put together from several packets.
    joined: Vec<u8>,
    sequence: u8,
    /// What the rest of the answer may cost.
    budget: usize,
}

impl<'t> Exchange<'t> {
    /// `budget`: how many bytes the whole answer may cost us.
    pub(super) fn new(transport: &'t mut Transport, budget: usize) -> Self {
        Self { transport, buffer: Vec::new(), at: 0, joined: Vec::new(), sequence: 0, budget }
    }

    /// The same conversation over another transport (TLS begins after the first packets of a login).
    pub(super) fn going_on(transport: &'t mut Transport, sequence: u8, budget: usize) -> Self {
        Self { sequence, ..Self::new(transport, budget) }
    }

    /// It is our turn: nothing more may have come. Tells the number of the packet we would send next.
    pub(super) fn end(self) -> Result<u8, Error> {
        if self.is_drained() { Ok(self.sequence) } else { Err(Error::protocol("the server talks out of turn")) }
    }

    /// Sends one packet.
    pub(super) async fn send(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let mut packet = vec![0; HEADER];
        fill(&mut packet);
        let length = packet.len() - HEADER;
        if length >= FULL {
            return Err(Error::Settings(format!("{length} bytes are too much for one packet of statements")));
        }
        // Less than FULL, so the fourth byte of the number is free for the sequence.
        let header = u32::try_from(length).unwrap_or(0) | u32::from(self.sequence) << 24;
        packet[..HEADER].copy_from_slice(&header.to_le_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        Ok(self.transport.write(&packet).await?)
    }

    /// The payload of the next packet; an ERR packet is an error.
    pub(super) async fn receive(&mut self) -> Result<&[u8], Error> {
        let (mut start, mut length) = self.take().await?;
        if length < FULL {
            let payload = &self.buffer[start..start + length];
            return if payload.first() == Some(&ERR) { Err(error::read(payload)) } else { Ok(payload) };
        }
        let mut joined = Vec::new();
        loop {
            joined.extend_from_slice(&self.buffer[start..start + length]);
            if length < FULL {
                break;
            }
            (start, length) = self.take().await?;
        }
        self.joined = joined;
        Ok(&self.joined)
    }

    /// Takes from the budget.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        let left = self.budget.checked_sub(bytes);
        self.budget = left.ok_or_else(|| Error::protocol("the answer is too large"))?;
        Ok(())
    }

    /// Nothing has come that was not taken.
    pub(super) fn is_drained(&self) -> bool {
        self.at == self.buffer.len()
    }

    /// Where the payload of the next packet lies in the buffer, and its length.
    async fn take(&mut self) -> Result<(usize, usize), Error> {
        self.fill(HEADER).await?;
        let [a, b, c, sequence] = self.header();
        let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        // A server that ends an idle connection says why (error 4031, say), as packet 0; our question crossed with that.
        let may_be_farewell = (sequence, self.sequence) == (0, 1);
        if sequence != self.sequence && !may_be_farewell {
            return Err(self.out_of_step(sequence));
        }
        self.charge(length + PER_PACKET)?;
        self.fill(HEADER + length).await?;
        let start = self.at + HEADER;
        if may_be_farewell && self.buffer.get(start) != Some(&ERR) {
            return Err(self.out_of_step(sequence));
        }
        self.at = start + length;
        self.sequence = self.sequence.wrapping_add(1);
        Ok((start, length))
    }

    fn out_of_step(&self, sequence: u8) -> Error {
        Error::protocol(format!("packet {sequence} came where {} was due", self.sequence))
    }

    fn header(&self) -> [u8; HEADER] {
        self.buffer.get(self.at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
    }

    /// Reads until that many bytes are there.
    async fn fill(&mut self, wanted: usize) -> Result<(), Error> {
        while self.buffer.len() - self.at < wanted {
            if self.at > 0 {
                self.buffer.drain(..self.at);
                self.at = 0;
            }
            self.transport.read(&mut self.buffer).await?;
        }
        Ok(())
    }
}
