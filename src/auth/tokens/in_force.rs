//! The tokens that are in force, and where they come from: a file of this node, or the store that nodes share. What is
//! read later is taken over alike.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::{sync::watch, time};

use super::{ById, PREFIX, SECRET_BYTES, StoredToken, TokenFile};
use crate::{
    auth::{Principal, Refused},
    bounds::TOKENS_MAX,
    ports::{TokenRow, TokenRows, TokenStore},
};

/// How often what has been read is compared with its source: what is revoked ends within a second.
const EVERY: Duration = Duration::from_millis(250);
const IN_A_FILE: &str = "auth.tokens";
const IN_THE_STORE: &str = "auth.token_store";

/// The tokens that are in force.
#[derive(Debug)]
pub struct Tokens {
    source: Source,
    /// `None` until they are read for the first time: nobody is let in, and nobody is called unknown.
    known: ArcSwapOption<ById>,
}

#[derive(Debug)]
enum Source {
    File(Arc<Watched>),
    Store(Shared),
}

/// What came of comparing tokens with their source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// Others are in force now.
    pub changed: bool,
    /// What of the source lets nobody in; everything else of it is in force.
    pub refused: Option<String>,
}

impl Tokens {
    /// Reads a file for the first time.
    ///
    /// # Errors
    /// Naming the file and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let (seen, known) = read(path)?;
        let file = Arc::new(Watched { path: path.to_owned(), seen: ArcSwap::from_pointee(seen) });
        Ok(Self { source: Source::File(file), known: ArcSwapOption::from_pointee(known) })
    }

    /// Those that nodes share; the first [`refresh`](Self::refresh) reads them.
    pub fn shared(store: Arc<dyn TokenStore>) -> Self {
        let told = store.told();
        let shared = Shared { store, told: told.into(), last: Mutex::default() };
        Self { source: Source::Store(shared), known: ArcSwapOption::empty() }
    }

    /// The key of the configuration that names the source.
    pub fn key(&self) -> &'static str {
        match self.source {
            Source::File(_) => IN_A_FILE,
            Source::Store(_) => IN_THE_STORE,
        }
    }

    /// Whether they have been read at all.
    pub fn are_read(&self) -> bool {
        self.known.load().is_some()
    }

    /// Waits until something may have changed.
    pub async fn due(&self) {
        match &self.source {
            Source::File(_) => time::sleep(EVERY).await,
            Source::Store(shared) => {
                // Whoever tells lives as long as the store: an error would be one at once, for ever.
                if let Ok(Err(_)) = time::timeout(EVERY, shared.told.lock().await.changed()).await {
                    time::sleep(EVERY).await;
                }
            }
        }
    }

    /// Compares them with their source. What is gone there, or is another now, lets nobody in any more, and ends what
    /// its bearer has begun.
    ///
    /// # Errors
    /// Naming the source and what is wrong with it; the tokens before stay in force.
    pub async fn refresh(&self) -> Result<Refreshed, String> {
        let (changed, refused) = match &self.source {
            Source::File(file) => (file.changed().await?, None),
            Source::Store(shared) => shared.changed().await?,
        };
        let is_changed = changed.is_some();
        if let Some(known) = changed {
            self.take_over(known);
        }
        Ok(Refreshed { changed: is_changed, refused })
    }

    fn take_over(&self, mut known: ById) {
        if let Some(before) = self.known.load_full() {
            for (id, old) in before.iter() {
                match known.get_mut(id) {
                    Some(new) if new.stored == old.stored => new.principal = old.principal.clone(),
                    _ => old.principal.revoke(),
                }
            }
        }
        self.known.store(Some(Arc::new(known)));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.load().as_ref().map_or(0, |known| known.len())
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Where it is nobody's, or has expired, or where no token could be read yet.
    pub fn principal(&self, text: &str) -> Result<Arc<Principal>, Refused> {
        let (id, secret) = text.strip_prefix(PREFIX).and_then(|text| text.split_once('_')).ok_or(Refused::Invalid)?;
        let known = self.known.load();
        let known = known.as_ref().ok_or(Refused::Unavailable)?;
        let hash: [u8; SECRET_BYTES] = Sha256::digest(secret).into();
        let known = known.get(id).filter(|known| bool::from(known.hash.ct_eq(&hash))).ok_or(Refused::Invalid)?;
        known.principal.is_valid()?;
        Ok(known.principal.clone())
    }
}

/// A file of tokens, and what it was like when it was read.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    seen: ArcSwap<Seen>,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    changed: Option<SystemTime>,
    length: u64,
    inode: u64,
}

fn named(path: &Path) -> impl Fn(String) -> String {
    move |error| format!("{IN_A_FILE} = {:?}: {error}", path.display().to_string())
}

fn read(path: &Path) -> Result<(Seen, ById), String> {
    let seen = Seen::of(path).map_err(named(path))?;
    let known = TokenFile::read(path).and_then(|file| file.known()).map_err(named(path))?;
    Ok((seen, known))
}

impl Watched {
    async fn changed(self: &Arc<Self>) -> Result<Option<ById>, String> {
        let file = self.clone();
        let read = tokio::task::spawn_blocking(move || file.read_where_changed()).await;
        read.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn read_where_changed(&self) -> Result<Option<ById>, String> {
        if **self.seen.load() == Seen::of(&self.path).map_err(named(&self.path))? {
            return Ok(None);
        }
        let (seen, known) = read(&self.path)?;
        self.seen.store(Arc::new(seen));
        Ok(Some(known))
    }
}

impl Seen {
    fn of(path: &Path) -> Result<Self, String> {
        use std::os::unix::fs::MetadataExt;
        let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
        if !about.is_file() {
            return Err("it is no regular file".into());
        }
        Ok(Self { changed: about.modified().ok(), length: about.len(), inode: about.ino() })
    }
}

/// The store that nodes share, and what was read of it.
#[derive(Debug)]
struct Shared {
    store: Arc<dyn TokenStore>,
    told: tokio::sync::Mutex<watch::Receiver<u64>>,
    last: Mutex<Last>,
}

#[derive(Debug, Clone, Default)]
struct Last {
    mark: Option<String>,
    refused: Option<String>,
}

impl Shared {
    /// Tokens where they have changed, and what of those in the store is refused.
    async fn changed(&self) -> Result<(Option<ById>, Option<String>), String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let read = self.store.changed(last.mark.as_deref()).await;
        let Some(TokenRows { mark, rows }) = read.map_err(|fault| format!("{IN_THE_STORE}: {fault}"))? else {
            return Ok((None, last.refused));
        };
        let (known, refused) = judged(rows);
        let last = Last { mark: Some(mark), refused: refused.clone() };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        Ok((Some(known), refused))
    }
}

/// A row that is of no use lets nobody in, and keeps nobody from being revoked by another one.
fn judged(rows: Vec<TokenRow>) -> (ById, Option<String>) {
    let mut known = ById::with_capacity(rows.len());
    let mut refused = (rows.len() > TOKENS_MAX)
        .then(|| format!("{IN_THE_STORE}: more than {TOKENS_MAX} tokens, those made last let nobody in"));
    for row in rows.into_iter().take(TOKENS_MAX) {
        let name = row.name.clone();
        match StoredToken::of_row(row).and_then(|stored| stored.known()) {
            Ok(token) => {
                known.insert(token.stored.id.clone(), token);
            }
            Err(error) => {
                refused.get_or_insert_with(|| format!("{IN_THE_STORE}: token {name:?}: {error}"));
            }
        }
    }
    (known, refused)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::future::{BoxFuture, FutureExt};

    use super::*;
    use crate::{
        auth::{Grant, NewToken, Role},
        domain::window::Millis,
        ports::StoreFault,
    };

    const NOW: Millis = 4_102_444_800_000;

    fn made(name: &str, expires: Option<Millis>) -> NewToken {
        let grant =
            Grant { role: Role::Plane, orgs: vec!["acme-*".into()], scopes: vec![], bind: vec!["agent/a".into()] };
        StoredToken::make(name, grant, NOW, expires).unwrap()
    }

    fn file(dir: &tempfile::TempDir, tokens: &[&StoredToken]) -> PathBuf {
        let path = dir.path().join("tokens.toml");
        let file = TokenFile { tokens: tokens.iter().copied().cloned().collect() };
        let fresh = dir.path().join("new");
        std::fs::write(&fresh, file.text().unwrap()).unwrap();
        std::fs::rename(fresh, &path).unwrap();
        path
    }

    const NOTHING: Refreshed = Refreshed { changed: false, refused: None };
    const OTHERS: Refreshed = Refreshed { changed: true, refused: None };

    #[tokio::test]
    async fn a_token_is_its_bearers_until_it_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (made("one", None), made("other", None));
        let tokens = Tokens::open(&file(&dir, &[&one.stored, &other.stored])).unwrap();
        let principal = tokens.principal(&one.text).unwrap();
        assert_eq!((principal.name(), principal.role()), ("one", Role::Plane));
        assert!(principal.orgs().covers("acme-1") && !principal.orgs().covers("beta"));
        assert_eq!(tokens.refresh().await, Ok(NOTHING));
        file(&dir, &[&other.stored]);
        assert_eq!(tokens.refresh().await, Ok(OTHERS));
        assert_eq!(tokens.principal(&one.text).unwrap_err(), Refused::Invalid);
        assert_eq!(principal.is_valid(), Err(Refused::Invalid), "and what it has begun ends");
        assert!(tokens.principal(&other.text).unwrap().is_valid().is_ok());
    }

    #[tokio::test]
    async fn what_has_changed_is_another_principal_and_what_has_not_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (mut one, other) = (made("one", None), made("other", None));
        let tokens = Tokens::open(&file(&dir, &[&one.stored, &other.stored])).unwrap();
        let before = [tokens.principal(&one.text).unwrap(), tokens.principal(&other.text).unwrap()];
        one.stored.role = Role::Reporter;
        file(&dir, &[&one.stored, &other.stored]);
        assert_eq!(tokens.refresh().await, Ok(OTHERS));
        assert_eq!(tokens.principal(&one.text).unwrap().role(), Role::Reporter);
        assert!(before[0].is_valid().is_err());
        assert!(Arc::ptr_eq(&before[1], &tokens.principal(&other.text).unwrap()));
    }

    #[test]
    fn nothing_else_lets_in() {
        let dir = tempfile::tempdir().unwrap();
        let (one, past) = (made("one", None), made("past", Some(1_000)));
        let tokens = Tokens::open(&file(&dir, &[&one.stored, &past.stored])).unwrap();
        assert_eq!(tokens.principal(&past.text).unwrap_err(), Refused::Expired);
        let id = &one.stored.id;
        let hash = &one.stored.sha256;
        for wrong in
            ["", "tg_", "tg__", &format!("tg_{id}_"), &format!("tg_{id}_{hash}"), &one.text[..one.text.len() - 1]]
        {
            assert_eq!(tokens.principal(wrong).unwrap_err(), Refused::Invalid, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_bad_file_changes_nothing_and_says_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let one = made("one", None);
        let path = file(&dir, &[&one.stored]);
        let tokens = Tokens::open(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for (wrong, says) in [
            ("[[token]]\nid = 5\n".to_owned(), "invalid type"),
            (text.replace("plane", "boss"), "unknown variant"),
            (text.replace("acme-*", "a*b"), "orgs \"a*b\" is not allowed"),
            (text.replace("agent/a", "account/a"), "bind \"account/***\" is not allowed"),
            (text.replace(&one.stored.sha256, "abc"), "sha256 is not allowed"),
            (format!("{text}{text}"), "the same name"),
            (format!("{text}\nexpires = \"soon\"\n"), "expires \"soon\" is not allowed"),
        ] {
            std::fs::write(&path, wrong).unwrap();
            let said = tokens.refresh().await.unwrap_err();
            assert!(said.contains(says) && said.contains("tokens.toml"), "{said}");
            assert!(tokens.principal(&one.text).is_ok());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(tokens.refresh().await.is_err());
        assert!(tokens.principal(&one.text).is_ok(), "what was valid is valid");
        assert!(Tokens::open(&path).is_err());
    }

    /// A store that answers as a test says.
    #[derive(Debug)]
    struct Kept {
        mark: AtomicU64,
        rows: Mutex<Result<Vec<TokenRow>, StoreFault>>,
        told: watch::Sender<u64>,
    }

    impl Kept {
        fn holding(tokens: &[&StoredToken]) -> Arc<Self> {
            let kept = Self { mark: AtomicU64::new(0), rows: Mutex::new(Ok(vec![])), told: watch::Sender::new(0) };
            kept.now(tokens);
            Arc::new(kept)
        }

        fn now(&self, tokens: &[&StoredToken]) {
            self.say(Ok(tokens.iter().map(|token| token.row().unwrap()).collect()));
        }

        fn say(&self, rows: Result<Vec<TokenRow>, StoreFault>) {
            *self.rows.lock().unwrap() = rows;
            self.mark.fetch_add(1, Ordering::Relaxed);
        }

        fn away(&self) {
            self.say(Err(StoreFault { operation: "tokens", cause: "away".into() }));
        }
    }

    impl TokenStore for Kept {
        fn changed<'a>(&'a self, seen: Option<&'a str>) -> BoxFuture<'a, Result<Option<TokenRows>, StoreFault>> {
            let mark = self.mark.load(Ordering::Relaxed).to_string();
            let rows = self.rows.lock().unwrap().clone();
            async move { rows.map(|rows| (seen != Some(&mark)).then_some(TokenRows { mark, rows })) }.boxed()
        }

        fn told(&self) -> watch::Receiver<u64> {
            self.told.subscribe()
        }
    }

    #[test]
    fn a_token_is_the_same_out_of_a_store() {
        for token in [made("one", None).stored, made("past", Some(NOW)).stored] {
            assert_eq!(StoredToken::of_row(token.row().unwrap()), Ok(token));
        }
        let row = TokenRow { role: "boss".into(), ..made("one", None).stored.row().unwrap() };
        assert!(StoredToken::of_row(row).unwrap_err().contains("role \"boss\" is not allowed"));
    }

    #[tokio::test]
    async fn before_the_store_was_read_nobody_is_let_in_and_nobody_is_called_unknown() {
        let one = made("one", None);
        let store = Kept::holding(&[&one.stored]);
        store.away();
        let tokens = Tokens::shared(store.clone());
        assert!(tokens.refresh().await.unwrap_err().contains("auth.token_store: store tokens: away"));
        assert_eq!((tokens.are_read(), tokens.principal(&one.text).unwrap_err()), (false, Refused::Unavailable));
        assert_eq!(tokens.principal("nonsense").unwrap_err(), Refused::Invalid);
        store.now(&[]);
        assert_eq!(tokens.refresh().await, Ok(OTHERS));
        assert_eq!((tokens.are_read(), tokens.principal(&one.text).unwrap_err()), (true, Refused::Invalid));
    }

    #[tokio::test]
    async fn a_token_of_the_store_is_its_bearers_until_it_is_revoked_there() {
        let (one, other) = (made("one", None), made("other", None));
        let store = Kept::holding(&[&one.stored, &other.stored]);
        let tokens = Tokens::shared(store.clone());
        assert_eq!((tokens.refresh().await, tokens.refresh().await, tokens.count()), (Ok(OTHERS), Ok(NOTHING), 2));
        let principal = tokens.principal(&one.text).unwrap();
        assert_eq!((principal.name(), principal.role()), ("one", Role::Plane));
        let bystander = tokens.principal(&other.text).unwrap();
        store.now(&[&other.stored]);
        assert_eq!(tokens.refresh().await, Ok(OTHERS));
        assert_eq!(tokens.principal(&one.text).unwrap_err(), Refused::Invalid);
        assert_eq!(principal.is_valid(), Err(Refused::Invalid), "and what it has begun ends");
        assert!(Arc::ptr_eq(&bystander, &tokens.principal(&other.text).unwrap()));
        store.away();
        assert!(tokens.refresh().await.is_err());
        assert!(tokens.principal(&other.text).is_ok(), "what was valid is valid");
    }

    #[tokio::test]
    async fn a_row_of_no_use_keeps_no_other_one_from_being_revoked() {
        let (one, other, third) = (made("one", None), made("other", None), made("third", None));
        let store = Kept::holding(&[&one.stored, &other.stored]);
        let tokens = Tokens::shared(store.clone());
        tokens.refresh().await.unwrap();
        let bad = TokenRow { orgs: vec!["a*b".into()], ..one.stored.row().unwrap() };
        store.say(Ok(vec![bad, third.stored.row().unwrap()]));
        let said = tokens.refresh().await.unwrap();
        let refused = said.refused.clone().unwrap();
        assert!(said.changed && refused.contains("token \"one\"") && refused.contains("orgs \"a*b\""), "{refused}");
        let refreshed = tokens.refresh().await.unwrap();
        assert_eq!((refreshed.changed, refreshed.refused), (false, said.refused), "it is said as long as it is so");
        let of = |token: &NewToken| tokens.principal(&token.text).err();
        assert_eq!([of(&one), of(&other), of(&third)], [Some(Refused::Invalid), Some(Refused::Invalid), None]);
        store.now(&[&one.stored]);
        assert_eq!(tokens.refresh().await, Ok(OTHERS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_is_not_waited_for_and_not_needed() {
        let store = Kept::holding(&[]);
        let tokens = Tokens::shared(store.clone());
        let began = time::Instant::now();
        tokens.due().await;
        assert_eq!(began.elapsed(), EVERY, "without a hint");
        store.told.send_modify(|count| *count += 1);
        tokens.due().await;
        assert_eq!(began.elapsed(), EVERY, "at once");
    }

    #[test]
    fn a_token_is_never_shown() {
        let one = made("one", None);
        let secret = one.text.rsplit('_').next().unwrap();
        assert!(!format!("{one:?}").contains(secret) && !one.stored.sha256.contains(secret));
    }
}
