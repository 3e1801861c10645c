//! Where traces go. OTLP is sent without TLS here, so it leaves the host only if somebody says so.

use std::net::IpAddr;

use http::Uri;

use super::Traces;
use super::error::Refused;
use super::raw::RawTraces;
use crate::traces::AVAILABLE;

const SAMPLE_RATIO: f64 = 0.01;

/// What the section means; `None` without an endpoint.
pub(super) fn traces(raw: Option<RawTraces>) -> Result<Option<Traces>, Refused> {
    let Some(raw) = raw else { return Ok(None) };
    if !AVAILABLE {
        let problem = "this program was built without traces: build it with `cargo build --release --locked --features otlp`, or leave \
             the section out";
        return Err(Refused::new("traces", problem));
    }
    let sample_ratio = ratio(raw.sample_ratio.unwrap_or(SAMPLE_RATIO))?;
    let endpoint = raw.endpoint.map(|text| endpoint(&text, raw.allow_remote == Some(true))).transpose()?;
    Ok(endpoint.map(|endpoint| Traces { endpoint, sample_ratio }))
}

fn ratio(typed: f64) -> Result<f64, Refused> {
    if (0.0..=1.0).contains(&typed) {
        return Ok(typed);
    }
    let problem =
        format!("is {typed} but must be from 0 (none) to 1 (all); put a number in that range, or leave it out for {SAMPLE_RATIO}");
    Err(Refused::new("traces.sample_ratio", problem))
}

fn endpoint(text: &str, allow_remote: bool) -> Result<Uri, Refused> {
    const KEY: &str = "traces.endpoint";
    let uri = text.parse().ok().filter(is_plain).ok_or_else(|| {
        let problem = "must be \"http://\", a host, and a port, e.g. \"http://127.0.0.1:4317\": OTLP over gRPC, without TLS, path or \
             password; for TLS run a collector on this host that passes traces on";
        Refused::new(KEY, problem)
    })?;
    if !is_loopback(&uri) && !allow_remote {
        let problem = "is another host, or a name, which may become one: traces would leave this host in plain text; name a collector on \
             the loopback, e.g. \"http://127.0.0.1:4317\", or say allow_remote = true and keep the way there private";
        return Err(Refused::new(KEY, problem));
    }
    Ok(uri)
}

fn is_plain(uri: &Uri) -> bool {
    let without_user = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    uri.scheme_str() == Some("http") && without_user && uri.port_u16().is_some() && uri.path() == "/" && uri.query().is_none()
}

fn is_loopback(uri: &Uri) -> bool {
    let address = uri.host().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    address.is_some_and(|address| address.is_loopback())
}
