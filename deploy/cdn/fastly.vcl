# Fastly snippets for these subroutines. The backend of the service is the load balancer.

sub vcl_recv {
  # The tier ignores the query string.
  set req.url = req.url.path;
  # auto: replace the thousands of spellings of Accept with three classes (Vary: Accept).
  if (req.url.path ~ "\.auto$") {
    set req.http.Accept = accept.media_lookup("image/avif:image/webp:image/jpeg", "image/jpeg", "", req.http.Accept);
  } else {
    unset req.http.Accept;
  }
  unset req.http.Cookie;
}

sub vcl_fetch {
  # Error responses state in Cache-Control whether they may be cached.
  if (beresp.http.Cache-Control ~ "no-store") {
    return(pass);
  }
  # Serve versioned images stale for a day if the tier fails, live ones as long as they allow.
  if (beresp.http.Cache-Control ~ "immutable") {
    set beresp.stale_if_error = 86400s;
  }
}
