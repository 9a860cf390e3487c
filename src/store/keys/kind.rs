//! The kinds of rows: the first byte of every key.

/// What a key's first byte says. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Meta = 0x01,
    Head = 0x10,
    Timer = 0x11,
    Slice = 0x12,
    Counter = 0x13,
    Journal = 0x14,
    LongJournal = 0x15,
    Reservation = 0x16,
    Baseline = 0x17,
    Execution = 0x18,
    Disputed = 0x19,
    JournalPart = 0x1a,
    LongJournalPart = 0x1b,
    // 0x1c was the digest of an org in version 1.
    Outbox = 0x1d,
    Budget = 0x1e,
    Session = 0x1f,
    TrialEnded = 0x20,
    Pool = 0x21,
    UpstreamAccount = 0x22,
}

impl Kind {
    pub const ALL: [Self; 19] = [
        Self::Meta,
        Self::Head,
        Self::Timer,
        Self::Slice,
        Self::Counter,
        Self::Journal,
        Self::LongJournal,
        Self::Reservation,
        Self::Baseline,
        Self::Execution,
        Self::Disputed,
        Self::JournalPart,
        Self::LongJournalPart,
        Self::Outbox,
        Self::Budget,
        Self::Session,
        Self::TrialEnded,
        Self::Pool,
        Self::UpstreamAccount,
    ];

    /// Kinds whose keys begin with the org.
    pub fn of_org() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| !matches!(kind, Self::Meta | Self::Timer))
    }

    pub const fn byte(self) -> u8 {
        self as u8
    }

    pub fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Head => "head",
            Self::Timer => "timer",
            Self::Slice => "slice",
            Self::Counter => "counter",
            Self::Journal => "journal",
            Self::LongJournal => "long_journal",
            Self::Reservation => "reservation",
            Self::Baseline => "baseline",
            Self::Execution => "execution",
            Self::Disputed => "disputed",
            Self::JournalPart => "journal_part",
            Self::LongJournalPart => "long_journal_part",
            Self::Outbox => "export",
            Self::Budget => "budget",
            Self::Session => "session",
            Self::TrialEnded => "trial_ended",
            Self::Pool => "pool",
            Self::UpstreamAccount => "account",
        }
    }
}
