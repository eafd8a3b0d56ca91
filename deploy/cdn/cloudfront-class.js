// CloudFront Function for viewer requests. Accept has thousands of spellings, but the tier
// distinguishes only three classes, and only for the format auto. So the cache key is the class
// (x-image-class), and Accept is replaced by one spelling per class.
function handler(event) {
  var request = event.request, headers = request.headers;
  request.querystring = {};
  delete headers["x-image-class"];
  if (/\.auto$/.test(request.uri)) {
    var classes = { avif: "image/avif,image/webp", webp: "image/webp", other: "*/*" };
    var accepts = function (type) {
      return ((headers.accept && headers.accept.value) || "").split(",").some(function (part) {
        var p = part.trim().toLowerCase().split(";");
        return p[0].trim() === type && !p.slice(1).some(function (o) { return /^\s*q\s*=\s*0(\.0*)?\s*$/.test(o); });
      });
    };
    var name = accepts("image/avif") ? "avif" : accepts("image/webp") ? "webp" : "other";
    headers["x-image-class"] = { value: name };
    headers.accept = { value: classes[name] };
  }
  return request;
}
