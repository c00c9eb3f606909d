"""The trace context of the calling program."""


def current_traceparent() -> str | None:
    """Return the `traceparent` of OpenTelemetry's current span; None without the library or outside a span.

    Source of the format: W3C Trace Context, section 3.2.
    """
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
