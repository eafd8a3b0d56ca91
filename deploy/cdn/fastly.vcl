# Fastly: snippets for the named subroutines. The service's backend is the balancer.

sub vcl_recv {
  # The query string means nothing to the tier.
  set req.url = req.url.path;
  # auto: three classes instead of thousands of spellings of Accept (Vary: Accept).
  if (req.url.path ~ "\.auto$") {
    set req.http.Accept = accept.media_lookup("image/avif:image/webp:image/jpeg", "image/jpeg", "", req.http.Accept);
  } else {
    unset req.http.Accept;
  }
  unset req.http.Cookie;
}

sub vcl_fetch {
  # Refusals and faults say themselves whether they may be kept.
  if (beresp.http.Cache-Control ~ "no-store") {
    return(pass);
  }
  # What is pinned is served while the origin is ill, and what is live as long as it allows.
  if (beresp.http.Cache-Control ~ "immutable") {
    set beresp.stale_if_error = 86400s;
  }
}
