//! The `traceparent` of a request (W3C Trace Context, level 1): of which trace it is, and under which span.
//!
//! Nothing else is taken over. The flag that says whether the caller's own span was taken decides nothing here, and
//! `tracestate` and `baggage` are texts of the caller's choice.

use http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// `None` if the header is absent, malformed, or there more than once.
pub(super) fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let mut all = headers.get_all("traceparent").iter();
    let (only, None) = (all.next()?, all.next()) else { return None };
    parse(only.to_str().ok()?)
}

fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let mut next = |digits: usize| parts.next().filter(|part| part.len() == digits && part.bytes().all(is_lowercase_hex));
    let (version, trace, span, _flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
    // Later versions may say more after that, this one does not; `ff` never is one.
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let parent = SpanContext::new(trace, span, TraceFlags::default(), true, TraceState::NONE);
    parent.is_valid().then_some(parent)
}

fn is_lowercase_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn of(values: &[&str]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("traceparent", value.parse().expect("a header's value"));
        }
        parent(&headers).map(|parent| (parent.trace_id().to_string(), parent.span_id().to_string()))
    }

    #[test]
    fn trace_and_span_are_taken_over_and_the_flags_are_not() {
        for text in [format!("00-{TRACE}-{SPAN}-01"), format!("00-{TRACE}-{SPAN}-00"), format!("7e-{TRACE}-{SPAN}-01-more")] {
            assert_eq!(of(&[&text]), Some((TRACE.to_owned(), SPAN.to_owned())), "{text}");
            assert!(!parse(&text).expect("valid").is_sampled(), "{text}");
        }
    }

    #[test]
    fn what_is_malformed_or_repeated_is_none() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[&good, &good]), None);
        for bad in [
            String::new(),
            good[..54].to_owned(),
            format!("{good}-"),
            format!("{good}-more"),
            format!("{good}0"),
            good.replacen("00", "ff", 1),
            good.replacen("00", "0", 1),
            good.to_uppercase(),
            good.replace(TRACE, &"0".repeat(32)),
            good.replace(SPAN, &"0".repeat(16)),
            good.replace(SPAN, "b7ad6b716920333+"),
            good.replace('-', "_"),
            format!(" {good}"),
            format!("{good},{good}"),
        ] {
            assert_eq!(of(&[&bad]), None, "{bad:?}");
        }
    }
}
