//! Slots that a key in an HSM opens, and HSMs that err. What talks to a real one is tested with it: `tests/integration/hsm`.

use std::sync::Mutex;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::json;

use super::*;
use crate::crypto::testing::{BrokenRandom, CountingRandom, bytes, each_flipped_bit, frozen};
use crate::crypto::{Random, RandomFailed};
use crate::model::{SecretBytes, SlotId, Timestamp, VaultId};
use crate::seal::{Argon2Parameters, Header, OpenSlot, Passphrase, SealError, SlotKind};

const VAULT: VaultId = VaultId::from_bytes([1; 16]);
const PASSPHRASE: &str = "correct horse battery staple";
const KEY: [u8; 32] = [0x4B; 32];
/// Bytes of a token slot with these labels: id, type, created, lp(parameters), wrapped root key.
const SLOT_BYTES: usize = 16 + 1 + 8 + 2 + (2 + 10) + (2 + 15) + 12 + 48 + 113;

fn now() -> Timestamp {
    Timestamp::parse("2026-11-24T08:00:00Z").expect("valid")
}

fn labels() -> TokenLabels {
    TokenLabels { token: TokenLabel::parse("strongroom").expect("short"), key: TokenLabel::parse("strongroom-root").expect("short") }
}

/// What PKCS#11 says that `CKM_AES_GCM` is, under a key that the test knows, and what is done to its answers.
struct KnownKey {
    key: [u8; 32],
    labels: TokenLabels,
    spoil: fn(&mut [u8]),
    contexts: Mutex<Vec<Vec<u8>>>,
}

impl KnownKey {
    fn new(key: [u8; 32]) -> Self {
        Self { key, labels: labels(), spoil: |_| {}, contexts: Mutex::default() }
    }

    fn cipher(&self, context: &[u8]) -> LessSafeKey {
        self.contexts.lock().expect("no test panics in here").push(context.to_vec());
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.key).expect("32 bytes"))
    }
}

#[async_trait]
impl TokenKey for KnownKey {
    fn labels(&self) -> TokenLabels {
        self.labels
    }

    async fn make_key(&self) -> Result<(), TokenError> {
        Ok(())
    }

    async fn encrypt(&self, iv: [u8; 12], context: &[u8], secret: &Key) -> Result<TokenCiphertext, TokenError> {
        let mut out = secret.expose().to_vec();
        let nonce = Nonce::assume_unique_for_key(iv);
        self.cipher(context).seal_in_place_append_tag(nonce, Aad::from(context), &mut out).expect("short");
        Ok(TokenCiphertext { iv, bytes: out.try_into().expect("32 bytes and a tag") })
    }

    async fn decrypt(&self, context: &[u8], ciphertext: &TokenCiphertext) -> Result<Key, TokenError> {
        let (mut bytes, nonce) = (ciphertext.bytes, Nonce::assume_unique_for_key(ciphertext.iv));
        let opened = self.cipher(context).open_in_place(nonce, Aad::from(context), &mut bytes);
        let secret = opened.map_err(|_| TokenError::Failed("CKR_ENCRYPTED_DATA_INVALID"))?;
        (self.spoil)(secret);
        Ok(Key::from_bytes(&mut (&*secret).try_into().expect("32 bytes")))
    }
}

fn passphrase() -> Passphrase {
    Passphrase::parse(&SecretBytes::new(PASSPHRASE.into())).expect("long enough")
}

fn create(random: &dyn Random) -> (Header, OpenSlot, Key) {
    let (header, system) = Header::create(VAULT, &passphrase(), Argon2Parameters::for_throwaway(), random, now()).expect("it counts");
    let open = header.open(&passphrase()).expect("its own");
    (header, open, system)
}

async fn with_token(token: &KnownKey) -> (Header, SlotId, Key) {
    let random = CountingRandom::new("token");
    let (header, open, system) = create(&random);
    let (header, slot) = header.with_token(&open, token, &random, now()).await.expect("it counts");
    (Header::decode(&header.encode()).expect("encoded above"), slot, system)
}

#[tokio::test]
async fn the_hsm_gives_the_system_key_back_and_so_does_the_passphrase() {
    let token = KnownKey::new(KEY);
    let (header, slot, system) = with_token(&token).await;
    let open = header.open_token(slot, &token).await.expect("its own");
    assert_eq!(open.id(), slot);
    assert_eq!(header.system_key(&open).expect("authentic").expose(), system.expose());
    assert_eq!(header.unseal(&passphrase()).expect("the other slot").expose(), system.expose());
    let shown = header.slots().nth(1).expect("two slots");
    assert_eq!((shown.kind, shown.kind.word()), (SlotKind::Token(labels()), "pkcs11"));
    let SlotKind::Token(shown) = shown.kind else { panic!("just seen") };
    assert_eq!((shown.token.as_str(), shown.key.as_str()), ("strongroom", "strongroom-root"));
    let context = [&b"strongroom/1 hsm\0"[..], VAULT.as_bytes(), slot.as_bytes()].concat();
    assert_eq!(*token.contexts.lock().expect("whole"), [context.clone(), context.clone(), context], "made, looked at, opened");
}

// immune: row-39
#[tokio::test]
async fn an_hsm_that_answers_with_other_bytes_opens_nothing_and_makes_no_slot() {
    let spoils: [fn(&mut [u8]); 4] = [|key| key[0] ^= 1, |key| key[31] ^= 0x80, |key| key.fill(0), |key| key.reverse()];
    let (header, slot, _) = with_token(&KnownKey::new(KEY)).await;
    for spoil in spoils {
        let liar = KnownKey { spoil, ..KnownKey::new(KEY) };
        assert_eq!(header.open_token(slot, &liar).await.err(), Some(SealError::Token(TokenError::WrongAnswer)));
        let (random, (header, open, _)) = (CountingRandom::new("more"), create(&CountingRandom::new("token")));
        assert_eq!(header.with_token(&open, &liar, &random, now()).await.err(), Some(SealError::Token(TokenError::WrongAnswer)));
    }
}

/// It gives back what it was given, and yet the secret would stand in the header for everybody to read.
struct Echo;

#[async_trait]
impl TokenKey for Echo {
    fn labels(&self) -> TokenLabels {
        labels()
    }

    async fn make_key(&self) -> Result<(), TokenError> {
        Ok(())
    }

    async fn encrypt(&self, iv: [u8; 12], _: &[u8], secret: &Key) -> Result<TokenCiphertext, TokenError> {
        let mut bytes = [0; TOKEN_CIPHERTEXT_BYTES];
        bytes[16..].copy_from_slice(secret.expose());
        Ok(TokenCiphertext { iv, bytes })
    }

    async fn decrypt(&self, _: &[u8], ciphertext: &TokenCiphertext) -> Result<Key, TokenError> {
        Ok(Key::from_bytes(&mut ciphertext.bytes[16..].try_into().expect("32 bytes")))
    }
}

#[tokio::test]
async fn an_hsm_that_does_not_encrypt_makes_no_slot() {
    let random = CountingRandom::new("echo");
    let (header, open, _) = create(&random);
    assert_eq!(header.with_token(&open, &Echo, &random, now()).await.err(), Some(SealError::Token(TokenError::WrongAnswer)));
}

#[tokio::test]
async fn another_key_another_label_and_another_slot_open_nothing() {
    let (header, slot, _) = with_token(&KnownKey::new(KEY)).await;
    let stranger = KnownKey::new([0x4C; 32]);
    assert_eq!(header.open_token(slot, &stranger).await.err(), Some(SealError::Token(TokenError::Failed("CKR_ENCRYPTED_DATA_INVALID"))));
    let elsewhere = TokenLabels { token: TokenLabel::parse("other").expect("short"), ..labels() };
    let elsewhere = KnownKey { labels: elsewhere, ..KnownKey::new(KEY) };
    assert_eq!(header.open_token(slot, &elsewhere).await.err(), Some(SealError::NoSuchSlot(slot)));
    assert!(elsewhere.contexts.lock().expect("whole").is_empty(), "it was not even asked");
    let first = header.slots().next().expect("the passphrase's").id;
    for other in [first, SlotId::from_bytes([9; 16])] {
        assert_eq!(header.open_token(other, &KnownKey::new(KEY)).await.err(), Some(SealError::NoSuchSlot(other)));
    }
}

#[tokio::test]
async fn a_slot_follows_its_root_key_and_goes_when_it_is_removed() {
    let (token, random) = (KnownKey::new(KEY), CountingRandom::new("again"));
    let (header, slot, system) = with_token(&token).await;
    let opened = [header.open(&passphrase()).expect("its own"), header.open_token(slot, &token).await.expect("its own")];
    let rewrapped = header.with_new_root(&opened, &[], &random).expect("both are opened");
    let open = rewrapped.open_token(slot, &token).await.expect("the same secret");
    assert_eq!(rewrapped.system_key(&open).expect("authentic").expose(), system.expose());
    let without = rewrapped.without_slot(&open, slot).expect("one is left");
    assert_eq!(without.open_token(slot, &token).await.err(), Some(SealError::NoSuchSlot(slot)));
    assert!(without.unseal(&passphrase()).is_ok());
}

// immune: row-38
#[tokio::test]
async fn every_flipped_bit_of_the_slot_is_refused() {
    let token = KnownKey::new(KEY);
    let (header, slot, _) = with_token(&token).await;
    let encoded = header.encode();
    let begin = encoded.len() - 32 - 113 - SLOT_BYTES;
    assert_eq!(encoded[begin..begin + 16], *slot.as_bytes());
    for (bit, changed) in each_flipped_bit(&encoded).enumerate().skip(begin * 8).take(SLOT_BYTES * 8) {
        let opened = match Header::decode(&changed) {
            Ok(header) => header.open_token(slot, &token).await.map(drop),
            Err(error) => Err(error),
        };
        assert!(opened.is_err(), "bit {bit}");
    }
}

// immune: row-35
#[tokio::test]
async fn without_randomness_there_is_no_slot() {
    let (header, open, _) = create(&CountingRandom::new("token"));
    for calls in 0..4 {
        let outcome = header.with_token(&open, &KnownKey::new(KEY), &BrokenRandom::after(calls), now()).await;
        assert_eq!(outcome.err(), Some(SealError::Random(RandomFailed)), "after {calls} calls");
    }
    assert!(header.with_token(&open, &KnownKey::new(KEY), &BrokenRandom::after(4), now()).await.is_ok());
}

#[test]
fn labels_are_bounded_and_printable() {
    for good in ["a", "a b", "~", &"t".repeat(32)] {
        assert_eq!(TokenLabel::<32>::parse(good).expect("good").as_str(), good);
    }
    for bad in ["", " a", "a ", "a\n", "a\u{1b}[1m", "\u{e9}", &"t".repeat(33)] {
        assert!(TokenLabel::<32>::parse(bad).is_err(), "{bad:?}");
    }
    assert!(TokenLabel::<64>::parse(&"k".repeat(64)).is_ok() && TokenLabel::<64>::parse(&"k".repeat(65)).is_err());
    assert_eq!(format!("{:?} {}", labels().token, labels().key), "\"strongroom\" strongroom-root");
}

#[tokio::test]
async fn the_format_is_frozen() {
    let token = KnownKey::new(KEY);
    let (header, slot, system) = with_token(&token).await;
    let made = json!({
        "passphrase": PASSPHRASE, "vault": VAULT.to_string(), "system_key": hex::encode(system.expose()), "header": hex::encode(header.encode()),
        "slot": slot.to_string(), "token": "strongroom", "key": "strongroom-root", "key_in_the_hsm": hex::encode(KEY),
    });
    let file = frozen("token.json", &made);
    let header = Header::decode(&bytes(&file["header"])).expect("frozen");
    let open = header.open_token(slot, &token).await.expect("frozen");
    assert_eq!(header.system_key(&open).expect("frozen").expose()[..], bytes(&file["system_key"]));
}
