//! Sets the loopback interface of a new network namespace up (rtnetlink(7)).

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use std::io;

/// `RTM_NEWLINK`.
const NEW_LINK: u16 = 16;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST_AND_ACKNOWLEDGE: u16 = 0x1 | 0x4;
/// `NLMSG_ERROR`, which is also the acknowledgement.
const ERROR: u16 = 2;
/// `IFF_UP`.
const UP: u32 = 1;
/// The loopback interface is the first of every network namespace.
const LOOPBACK: i32 = 1;
/// Bytes of `struct nlmsghdr` and `struct ifinfomsg` together.
const LENGTH: u32 = 16 + 16;

/// Sets it up. Needs `CAP_NET_ADMIN` in the namespace.
pub(super) fn up() -> io::Result<()> {
    // No protocol is protocol 0, which is NETLINK_ROUTE.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    send(&socket, &request(), SendFlags::empty())?;
    let mut answer = [0; 256];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    accepted(answer.get(..length).unwrap_or_default())
}

fn request() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend(LENGTH.to_ne_bytes());
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    message.extend([0; 8]); // sequence number and port
    message.extend([0; 4]); // family, padding, type
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(UP.to_ne_bytes()); // flags
    message.extend(UP.to_ne_bytes()); // which of them change
    message
}

/// Reads the acknowledgement: an error whose number is 0.
fn accepted(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let error = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(error)) => Err(io::Error::from_raw_os_error(-error)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_for_what_it_says() {
        assert_eq!(request().len(), LENGTH as usize);
        let answer = |kind: u16, error: i32| {
            let mut bytes = vec![0; 36];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[16..20].copy_from_slice(&error.to_ne_bytes());
            bytes
        };
        assert!(accepted(&answer(ERROR, 0)).is_ok());
        let refused = accepted(&answer(ERROR, -1)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert!(accepted(&answer(3, 0)).is_err(), "another message");
        assert!(accepted(&[0; 5]).is_err(), "a short one");
    }
}
