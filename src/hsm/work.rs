//! What a worker does: one request, then it ends. The only place that knows PKCS#11.
//!
//! Of the mechanisms of an HSM it asks for AES-GCM, and for the making of an AES key, and for no other: with an unauthenticated one,
//! whoever can write to the store could ask the HSM questions about its key.

#![expect(clippy::disallowed_types, reason = "the one home of PKCS#11")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;
use rustix::process::{Signal, set_parent_process_death_signal};
use zeroize::{Zeroize, Zeroizing};

use super::wire::{Answer, Job, NAMES, REQUEST_BYTES, Received};
use crate::crypto::Key;
use crate::seal::{TOKEN_CIPHERTEXT_BYTES, TokenCiphertext, TokenError};

const KEY_BYTES: u64 = 32;
const TAG_BITS: u64 = 128;

/// Does what the server asks on standard input, and answers on what standard output was when this began.
#[must_use]
pub fn work() -> ExitCode {
    // A module that hangs must not outlive its server.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if serve().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve() -> io::Result<()> {
    // A module that chats on standard output shall not be mistaken for an answer.
    let mut reply = File::from(rustix::io::dup(io::stdout())?);
    rustix::io::fcntl_setfd(&reply, rustix::io::FdFlags::CLOEXEC)?;
    rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    let mut bytes = Zeroizing::new(Vec::new());
    io::stdin().take(REQUEST_BYTES).read_to_end(&mut bytes)?;
    let request = Received::decode(&bytes).map_err(io::Error::other)?;
    let pkcs11 = Pkcs11::new(&request.module);
    let answer = pkcs11.as_ref().map_err(|_| TokenError::Module).and_then(|pkcs11| answer(pkcs11, &request));
    reply.write_all(&Answer::encode(&answer))?;
    drop(reply);
    if let Ok(pkcs11) = pkcs11 {
        // The answer is given; how the module ends is its own affair.
        let _ = pkcs11.finalize();
    }
    Ok(())
}

fn answer(pkcs11: &Pkcs11, request: &Received) -> Result<Answer, TokenError> {
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(failed)?;
    let slot = slot_of(pkcs11, request.labels.token.as_str())?;
    let session = match request.job {
        Job::MakeKey => pkcs11.open_rw_session(slot),
        _ => pkcs11.open_ro_session(slot),
    };
    let session = session.map_err(failed)?;
    session.login_with_raw(UserType::User, &RawAuthPin::new(Box::new(request.pin.to_vec()))).map_err(failed)?;
    let done = done_in(&session, request);
    // An HSM has a bounded number of sessions.
    let _ = session.logout();
    done
}

fn done_in(session: &Session, request: &Received) -> Result<Answer, TokenError> {
    let label = request.labels.key.as_str();
    let key = match (key_of(session, label), &request.job) {
        (Err(TokenError::NoKey), Job::MakeKey) => make_key(session, label)?,
        (found, _) => found?,
    };
    stays(session, key)?;
    match &request.job {
        Job::MakeKey => Ok(Answer::Done),
        Job::Encrypt(secret) => encrypt(session, key, request, secret).map(Answer::Ciphertext),
        Job::Decrypt(ciphertext) => decrypt(session, key, request, ciphertext).map(Answer::Secret),
    }
}

/// The one slot whose token has this label.
fn slot_of(pkcs11: &Pkcs11, label: &str) -> Result<Slot, TokenError> {
    let slots = pkcs11.get_slots_with_initialized_token().map_err(failed)?;
    // What another token answers is not this one's concern.
    let mut found = slots.into_iter().filter(|slot| pkcs11.get_token_info(*slot).is_ok_and(|info| info.label() == label));
    match (found.next(), found.next()) {
        (Some(slot), None) => Ok(slot),
        (None, _) => Err(TokenError::NoToken),
        (Some(_), Some(_)) => Err(TokenError::SeveralTokens),
    }
}

fn template(label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

/// The one AES key that has this label.
fn key_of(session: &Session, label: &str) -> Result<ObjectHandle, TokenError> {
    let template = template(label);
    // No more than two, however many a module has.
    let found: Vec<_> = session.iter_objects(&template).map_err(failed)?.take(2).collect::<Result<_, _>>().map_err(failed)?;
    match found[..] {
        [key] => Ok(key),
        [] => Err(TokenError::NoKey),
        _ => Err(TokenError::SeveralKeys),
    }
}

fn make_key(session: &Session, label: &str) -> Result<ObjectHandle, TokenError> {
    let mut template = template(label);
    template.extend([
        Attribute::ValueLen(KEY_BYTES.into()),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]);
    session.generate_key(&Mechanism::AesKeyGen, &template).map_err(failed)
}

/// Whether the key is one that never leaves the HSM, as far as that tells the truth.
fn stays(session: &Session, key: ObjectHandle) -> Result<(), TokenError> {
    let asked = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::ValueLen];
    let told = session.get_attributes(key, &asked).map_err(failed)?;
    let wanted = [Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::ValueLen(KEY_BYTES.into())];
    if wanted.iter().all(|wanted| told.contains(wanted)) { Ok(()) } else { Err(TokenError::LooseKey) }
}

fn encrypt(session: &Session, key: ObjectHandle, request: &Received, secret: &Key) -> Result<TokenCiphertext, TokenError> {
    let mut iv = request.iv;
    let bytes = {
        let parameters = GcmParams::new(&mut iv, &request.context, TAG_BITS.into()).map_err(failed)?;
        session.encrypt(&Mechanism::AesGcm(parameters), key, secret.expose()).map_err(failed)?
    };
    let bytes: [u8; TOKEN_CIPHERTEXT_BYTES] = bytes.try_into().map_err(|_| TokenError::WrongAnswer)?;
    // The module may have put one of its own there.
    Ok(TokenCiphertext { iv, bytes })
}

fn decrypt(session: &Session, key: ObjectHandle, request: &Received, ciphertext: &[u8]) -> Result<Key, TokenError> {
    let mut iv = request.iv;
    let parameters = GcmParams::new(&mut iv, &request.context, TAG_BITS.into()).map_err(failed)?;
    let mut bytes = session.decrypt(&Mechanism::AesGcm(parameters), key, ciphertext).map_err(failed)?;
    let secret = <&mut [u8; 32]>::try_from(&mut bytes[..]).map(Key::from_bytes);
    let secret = secret.map_err(|_| TokenError::WrongAnswer);
    bytes.zeroize();
    secret
}

/// The name of what went wrong: never a text, and no number that is not in the list.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn failed(error: Error) -> TokenError {
    let name = match error {
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => return TokenError::WrongPin,
        Error::Pkcs11(RvError::PinLocked | RvError::PinExpired, _) => return TokenError::PinLocked,
        Error::Pkcs11(error, _) => name_of(error),
        _ => None,
    };
    TokenError::Failed(name.unwrap_or(NAMES[NAMES.len() - 1]))
}

fn name_of(error: RvError) -> Option<&'static str> {
    let known = [
        (RvError::HostMemory, "CKR_HOST_MEMORY"),
        (RvError::GeneralError, "CKR_GENERAL_ERROR"),
        (RvError::FunctionFailed, "CKR_FUNCTION_FAILED"),
        (RvError::DeviceError, "CKR_DEVICE_ERROR"),
        (RvError::DeviceMemory, "CKR_DEVICE_MEMORY"),
        (RvError::DeviceRemoved, "CKR_DEVICE_REMOVED"),
        (RvError::EncryptedDataInvalid, "CKR_ENCRYPTED_DATA_INVALID"),
        (RvError::EncryptedDataLenRange, "CKR_ENCRYPTED_DATA_LEN_RANGE"),
        (RvError::FunctionNotSupported, "CKR_FUNCTION_NOT_SUPPORTED"),
        (RvError::KeyFunctionNotPermitted, "CKR_KEY_FUNCTION_NOT_PERMITTED"),
        (RvError::MechanismInvalid, "CKR_MECHANISM_INVALID"),
        (RvError::MechanismParamInvalid, "CKR_MECHANISM_PARAM_INVALID"),
        (RvError::SessionCount, "CKR_SESSION_COUNT"),
        (RvError::TemplateInconsistent, "CKR_TEMPLATE_INCONSISTENT"),
        (RvError::TokenNotPresent, "CKR_TOKEN_NOT_PRESENT"),
        (RvError::TokenNotRecognized, "CKR_TOKEN_NOT_RECOGNIZED"),
        (RvError::TokenWriteProtected, "CKR_TOKEN_WRITE_PROTECTED"),
        (RvError::UserPinNotInitialized, "CKR_USER_PIN_NOT_INITIALIZED"),
    ];
    known.into_iter().find(|(one, _)| *one == error).map(|(_, name)| name)
}
