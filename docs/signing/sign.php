<?php
// Signs imagetier URLs. PHP 8.0 or newer, no extensions.
declare(strict_types=1);

function base64url(string $data): string
{
    return rtrim(strtr(base64_encode($data), '+/', '-_'), '=');
}

/** Returns a name as it is spelled in a URL. */
function spellName(string $name): string
{
    $plain = preg_match('~^[A-Za-z0-9._\~/-]+\z~', $name) === 1 && $name[0] !== '~';
    if ($plain && !array_intersect(explode('/', $name), ['', '.', '..'])) {
        return $name;
    }
    return '~' . base64url($name);
}

/** Returns the path of a URL. $format is '' for orig; $expires is Unix seconds, 0 for never. */
function signedPath(
    string $keyId, string $keyHex, string $shape, string $version, string $source, string $name,
    string $format, int $expires = 0
): string {
    $path = "/$shape/$version/$source/" . spellName($name) . ($format === '' ? '' : ".$format");
    $expiry = $expires === 0 ? '' : (string) $expires;
    $digest = hash_hmac('sha256', $expiry . $path, hex2bin($keyHex), true);
    $signature = "$keyId." . base64url(substr($digest, 0, 16)) . ($expiry === '' ? '' : ".$expiry");
    return "/i/$signature$path";
}

if (realpath($argv[0] ?? '') === __FILE__) { // signs the test vectors on standard input
    foreach (array_slice(file('php://stdin', FILE_IGNORE_NEW_LINES), 1) as $line) {
        [$keyId, $keyHex, $shape, $version, $source, $name, $format, $expires] = explode("\t", $line);
        echo signedPath($keyId, $keyHex, $shape, $version, $source, $name, $format, (int) $expires), "\n";
    }
}
