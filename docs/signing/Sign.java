// Signs imagetier URLs. Java 17 or newer, standard library only.
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public final class Sign {
    /** What a URL names. format is "" for orig; expires is Unix seconds, 0 for never. */
    record Image(String shape, String version, String source, String name, String format, long expires) {}

    private static String base64url(byte[] data) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(data);
    }

    /** Returns a name as it is spelled in a URL. */
    static String spellName(String name) {
        boolean plain = name.matches("[A-Za-z0-9._~/-]+") && !name.startsWith("~");
        for (String segment : name.split("/", -1)) {
            plain = plain && !List.of("", ".", "..").contains(segment);
        }
        return plain ? name : "~" + base64url(name.getBytes(StandardCharsets.UTF_8));
    }

    /** Returns the path of a URL. */
    static String signedPath(String keyId, String keyHex, Image image) throws GeneralSecurityException {
        String path = "/" + image.shape + "/" + image.version + "/" + image.source + "/" + spellName(image.name)
                + (image.format.isEmpty() ? "" : "." + image.format);
        String expiry = image.expires == 0 ? "" : Long.toString(image.expires);
        Mac hmac = Mac.getInstance("HmacSHA256");
        hmac.init(new SecretKeySpec(HexFormat.of().parseHex(keyHex), "HmacSHA256"));
        byte[] digest = hmac.doFinal((expiry + path).getBytes(StandardCharsets.UTF_8));
        return "/i/" + keyId + "." + base64url(Arrays.copyOf(digest, 16))
                + (expiry.isEmpty() ? "" : "." + expiry) + path;
    }

    /** Signs the test vectors on standard input. */
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        String text = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
        for (String line : text.lines().skip(1).toList()) {
            String[] f = line.split("\t", -1);
            out.println(signedPath(f[0], f[1], new Image(f[2], f[3], f[4], f[5], f[6], Long.parseLong(f[7]))));
        }
    }
}
