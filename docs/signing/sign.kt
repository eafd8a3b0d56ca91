// Signs imagetier URLs on the JVM. Kotlin 1.3 or newer, standard library only.
import java.util.Base64
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec

/** What a URL names. format is "" for orig; expires is Unix seconds, 0 for never. */
data class Image(
    val shape: String, val version: String, val source: String, val name: String,
    val format: String, val expires: Long = 0
)

private fun base64url(data: ByteArray): String = Base64.getUrlEncoder().withoutPadding().encodeToString(data)

/** Returns a name as it is spelled in a URL. */
fun spellName(name: String): String {
    val plain = Regex("[A-Za-z0-9._~/-]+").matches(name) && !name.startsWith("~")
    if (plain && name.split("/").none { it in setOf("", ".", "..") }) return name
    return "~" + base64url(name.toByteArray())
}

/** Returns the path of a URL. */
fun signedPath(keyId: String, keyHex: String, image: Image): String {
    val format = if (image.format.isEmpty()) "" else ".${image.format}"
    val path = "/${image.shape}/${image.version}/${image.source}/${spellName(image.name)}$format"
    val expiry = if (image.expires == 0L) "" else image.expires.toString()
    val key = keyHex.chunked(2).map { it.toInt(16).toByte() }.toByteArray()
    val hmac = Mac.getInstance("HmacSHA256").apply { init(SecretKeySpec(key, "HmacSHA256")) }
    val mac = base64url(hmac.doFinal((expiry + path).toByteArray()).copyOf(16))
    return "/i/$keyId.$mac" + (if (expiry.isEmpty()) "" else ".$expiry") + path
}

/** Signs the test vectors on standard input. */
fun main() {
    System.`in`.bufferedReader(Charsets.UTF_8).readLines().drop(1).filter { it.isNotEmpty() }.forEach { line ->
        val f = line.split("\t")
        println(signedPath(f[0], f[1], Image(f[2], f[3], f[4], f[5], f[6], f[7].toLong())))
    }
}
