//! Whoever listens outside: on every address of this machine, by TCP and UDP, and on Unix sockets with a path and
//! without. And the one service that the attacker may reach, through routd.

use super::listener_at;
use crate::harness::Suite;
use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream},
    },
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

/// Listeners that must hear nothing. What connects is kept by the kernel until somebody looks.
pub(super) struct Ears {
    tcp: TcpListener,
    udp: UdpSocket,
    unix: [UnixListener; 2],
    pub(super) abstract_name: String,
    pub(super) socket: PathBuf,
}

impl Ears {
    pub(super) fn open(suite: &Suite) -> Self {
        // Both families by one socket, where there are both.
        let any: [SocketAddr; 2] =
            [(Ipv6Addr::UNSPECIFIED, 0).into(), SocketAddr::from(([0, 0, 0, 0], 0))];
        let (tcp, udp) = (TcpListener::bind(&any[..]).unwrap(), UdpSocket::bind(&any[..]).unwrap());
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        let abstract_name =
            format!("arizuko-drill-{}-{:x}", std::process::id(), rand::random::<u32>());
        let address = UnixAddr::from_abstract_name(&abstract_name).unwrap();
        let nameless = UnixListener::bind_addr(&address).unwrap();
        nameless.set_nonblocking(true).unwrap();
        let socket = suite.scratch("ear.sock");
        let unix = [nameless, listener_at(&socket)];
        let ears = Self { tcp, udp, unix, abstract_name, socket };
        ears.can_hear(&address);
        ears
    }

    pub(super) fn tcp_port(&self) -> u16 {
        self.tcp.local_addr().unwrap().port()
    }

    pub(super) fn udp_port(&self) -> u16 {
        self.udp.local_addr().unwrap().port()
    }

    /// They hear this very test, on every address: or what they do not hear would say nothing.
    fn can_hear(&self, nameless: &UnixAddr) {
        for host in host_addresses() {
            let _come = TcpStream::connect((host.as_str(), self.tcp_port())).unwrap();
            let sender = UdpSocket::bind((host.as_str(), 0)).unwrap();
            sender.send_to(b"x", (host.as_str(), self.udp_port())).unwrap();
            crate::harness::eventually("a listener hears this test", || self.tcp.accept().ok());
            crate::harness::eventually("a socket hears this test", || {
                self.udp.recv_from(&mut [0; 8]).ok()
            });
        }
        let _come = (
            UnixStream::connect_addr(nameless).unwrap(),
            UnixStream::connect(&self.socket).unwrap(),
        );
        for unix in &self.unix {
            unix.accept().unwrap();
        }
        self.heard_nothing();
    }

    pub(super) fn heard_nothing(&self) {
        let quiet = |heard: Option<ErrorKind>, who: &str| {
            assert_eq!(heard, Some(ErrorKind::WouldBlock), "somebody came to {who}");
        };
        quiet(self.tcp.accept().err().map(|error| error.kind()), "the TCP listener");
        quiet(self.udp.recv_from(&mut [0; 8]).err().map(|error| error.kind()), "the UDP socket");
        for unix in &self.unix {
            quiet(unix.accept().err().map(|error| error.kind()), "a Unix socket");
        }
    }
}

/// The addresses of this machine, loopback first: those of its interfaces, a container engine's bridge among them.
pub(super) fn host_addresses() -> Vec<String> {
    let mut found = vec!["127.0.0.1".to_owned()];
    let table = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let lines: Vec<&str> = table.lines().collect();
    for pair in lines.windows(2) {
        let address = pair[0].trim().strip_prefix("|-- ");
        if let (Some(address), true) = (address, pair[1].contains("/32 host LOCAL"))
            && !address.starts_with("127.")
            && !found.iter().any(|known| known == address)
        {
            found.push(address.to_owned());
        }
    }
    found
}

/// A service to which a secret is bound. It sends whoever comes to somewhere else.
pub(super) struct Service {
    pub(super) url: String,
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    pub(super) fn begin(elsewhere: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let notes = asked.clone();
        // It ends with this test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                let shown: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                notes.lock().unwrap().push(first.trim_end_matches(" HTTP/1.1").to_owned());
                let shown = shown.join("\\n");
                let answer = format!(
                    "HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{shown}",
                    shown.len()
                );
                // Whoever went away wants no answer.
                let _gone = (&stream).write_all(answer.as_bytes()).is_err();
            }
        });
        Self { url: format!("http://127.0.0.1:{port}"), port, asked }
    }

    /// What it was asked, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}
