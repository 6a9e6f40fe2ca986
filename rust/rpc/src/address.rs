//! Addresses: `host:port`, resolved when they are used.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};

/// Longer than a lost first packet and its repetition.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks that an address may be listened on: beyond the loopback only with `insecure`, as long as nothing is encrypted.
///
/// # Errors
/// Says what is wrong and what to do.
pub fn check_address(address: &str, insecure: bool) -> Result<(), String> {
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err(format!("{address:?} is no address: write host:port"));
    };
    if port.parse::<u16>().is_err() {
        return Err(format!("{address:?} is no address: {port:?} is no port number"));
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(format!("{address:?} is no address: the host is missing"));
    }
    if insecure || is_loopback(host) {
        return Ok(());
    }
    Err(format!(
        "{address:?} is reachable from other machines and nothing is encrypted: set insecure=True if the network is trusted"
    ))
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Resolves and connects, every time anew: the name may point elsewhere meanwhile.
pub(crate) async fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in resolve(address).await? {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(candidate)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("no answer from {candidate}")),
        }
    }
    Err(last)
}

async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    // A literal needs no resolver, and no thread to wait for one.
    if let Ok(literal) = address.parse() {
        return Ok(vec![literal]);
    }
    match tokio::time::timeout(RESOLVE_TIMEOUT, lookup_host(address)).await {
        Ok(found) => Ok(found?.collect()),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the name service does not answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::check_address;

    #[test]
    fn only_the_loopback_needs_no_consent() {
        for address in ["127.0.0.1:0", "127.9.9.9:80", "[::1]:9081", "localhost:9081", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(check_address(address, false), Ok(()), "{address}");
        }
        for address in ["0.0.0.0:9081", "10.0.0.1:1", "[::]:1", "node1.example:9081"] {
            assert!(check_address(address, false).is_err_and(|why| why.contains("insecure")), "{address}");
            assert_eq!(check_address(address, true), Ok(()), "{address}");
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (address, why) in [("here", "host:port"), ("here:", "port"), ("here:70000", "port"), (":80", "host")] {
            assert!(check_address(address, true).is_err_and(|text| text.contains(why)), "{address}");
        }
    }
}
