// CloudFront Function, viewer request. Accept has thousands of spellings; the tier tells
// three classes apart, and only where the format is auto. So the class is the key, and
// Accept is replaced by what stands for it.
function handler(event) {
  var request = event.request, headers = request.headers;
  request.querystring = {};
  delete headers["x-image-class"];
  if (/\.auto$/.test(request.uri)) {
    var classes = { avif: "image/avif,image/webp", webp: "image/webp", other: "*/*" };
    var named = function (type) {
      return ((headers.accept && headers.accept.value) || "").split(",").some(function (part) {
        var p = part.trim().toLowerCase().split(";");
        return p[0].trim() === type && !p.slice(1).some(function (o) { return /^\s*q\s*=\s*0(\.0*)?\s*$/.test(o); });
      });
    };
    var is = named("image/avif") ? "avif" : named("image/webp") ? "webp" : "other";
    headers["x-image-class"] = { value: is };
    headers.accept = { value: classes[is] };
  }
  return request;
}
