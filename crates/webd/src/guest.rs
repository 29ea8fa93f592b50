//! The web chats of guests: whoever opens one without a link. Pure, apart from the random digits of a new one.
//!
//! A guest's link is made here and kept nowhere: its token is random, and its chat's address is a hash of it, so that
//! whoever knows the address cannot open the chat. Where such a chat leads, the route table says as for any platform's:
//! nowhere at first, which makes its guest a stranger.

use proto::Jid;
use sha2::{Digest, Sha256};

/// What tells a guest's token from that of a link.
const PREFIX: &str = "guest-";
/// Hexadecimal digits of a token: 128 bits.
const DIGITS: usize = 32;

/// The token of a chat that nobody opened before.
pub fn new_token() -> String {
    format!("{PREFIX}{}", hex::encode(rand::random::<[u8; DIGITS / 2]>()))
}

/// The chat that a guest's token opens; `None` where it is not one.
pub fn chat_of(token: &str) -> Option<Jid> {
    let digits = token.strip_prefix(PREFIX)?;
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digits.len() != DIGITS || !digits.bytes().all(digit) {
        return None;
    }
    let mut hash = hex::encode(Sha256::digest(format!("guest's chat {digits}")));
    hash.truncate(DIGITS);
    Jid::guest(&hash).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_its_own_chat_and_the_chat_does_not_tell_it() {
        let (one, other) = (new_token(), new_token());
        let chat = chat_of(&one).unwrap();
        assert_eq!(chat_of(&one), Some(chat.clone()));
        assert_ne!(chat_of(&other), Some(chat.clone()));
        assert!(!chat.as_str().contains(&one[PREFIX.len()..]), "{chat}");
        for bad in [&one[1..], &one[..one.len() - 1], "guest-", &one.to_uppercase(), chat.as_str()]
        {
            assert_eq!(chat_of(bad), None, "{bad}");
        }
    }
}
