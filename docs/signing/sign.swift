// Signs imagetier URLs in a Swift server (or a tool on macOS). Never ship the key in an app:
// apps receive URLs that are already signed. On Linux, depend on apple/swift-crypto.
import Foundation
#if canImport(CryptoKit)
import CryptoKit
#else
import Crypto
#endif

/// What a URL names. format is "" for orig; expires is Unix seconds, 0 for never.
struct Image {
    var shape, version, source, name, format: String
    var expires = 0
}

func base64url(_ data: Data) -> String {
    data.base64EncodedString()
        .replacingOccurrences(of: "+", with: "-")
        .replacingOccurrences(of: "/", with: "_")
        .replacingOccurrences(of: "=", with: "")
}

/// Returns a name as it is spelled in a URL.
func spellName(_ name: String) -> String {
    let unreserved = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-/".unicodeScalars)
    let segments = name.split(separator: "/", omittingEmptySubsequences: false)
    let plain = name.unicodeScalars.allSatisfy(unreserved.contains) && !name.hasPrefix("~")
        && !segments.contains { ["", ".", ".."].contains($0) }
    return plain ? name : "~" + base64url(Data(name.utf8))
}

/// Returns the path of a URL.
func signedPath(keyID: String, key: SymmetricKey, image: Image) -> String {
    let format = image.format.isEmpty ? "" : ".\(image.format)"
    let path = "/\(image.shape)/\(image.version)/\(image.source)/\(spellName(image.name))\(format)"
    let expiry = image.expires == 0 ? "" : String(image.expires)
    let mac = HMAC<SHA256>.authenticationCode(for: Data((expiry + path).utf8), using: key)
    return "/i/\(keyID).\(base64url(Data(Data(mac).prefix(16))))\(expiry.isEmpty ? "" : ".\(expiry)")\(path)"
}

/// Parses the hexadecimal digits of a key.
func parseKey(hex: String) -> SymmetricKey {
    let digits = Array(hex)
    return SymmetricKey(data: Data(stride(from: 0, to: digits.count, by: 2).map {
        UInt8(String(digits[$0...$0 + 1]), radix: 16)!
    }))
}

// Signs the test vectors on standard input.
_ = readLine()
while let line = readLine() {
    let f = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    let image = Image(shape: f[2], version: f[3], source: f[4], name: f[5], format: f[6], expires: Int(f[7])!)
    print(signedPath(keyID: f[0], key: parseKey(hex: f[1]), image: image))
}
