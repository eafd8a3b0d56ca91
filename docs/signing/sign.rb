# Signs imagetier URLs. Ruby 2.7 or newer, standard library only.
require "openssl"

def base64url(data)
  [data].pack("m0").tr("+/", "-_").delete("=")
end

# Returns a name as it is spelled in a URL.
def spell_name(name)
  plain = name.match?(%r{\A[A-Za-z0-9._~/-]+\z}) && !name.start_with?("~")
  return name if plain && (name.split("/", -1) & ["", ".", ".."]).empty?

  "~" + base64url(name)
end

# Returns the path of a URL. format is "" for orig; expires is Unix seconds, 0 for never.
def signed_path(key_id:, key_hex:, shape:, version:, source:, name:, format:, expires: 0)
  path = "/#{shape}/#{version}/#{source}/#{spell_name(name)}"
  path += ".#{format}" unless format.empty?
  expiry = expires.zero? ? "" : expires.to_s
  digest = OpenSSL::HMAC.digest("SHA256", [key_hex].pack("H*"), expiry + path)
  signature = "#{key_id}.#{base64url(digest[0, 16])}"
  signature += ".#{expiry}" unless expiry.empty?
  "/i/#{signature}#{path}"
end

if __FILE__ == $PROGRAM_NAME # signs the test vectors on standard input
  $stdin.set_encoding("UTF-8").each_line(chomp: true).drop(1).each do |line|
    key_id, key_hex, shape, version, source, name, format, expires = line.split("\t", -1)
    puts signed_path(key_id: key_id, key_hex: key_hex, shape: shape, version: version, source: source,
                     name: name, format: format, expires: expires.to_i)
  end
end
