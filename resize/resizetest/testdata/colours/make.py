#!/usr/bin/python3
"""Makes the AVIFs and HEICs beside it, and the PNGs of what they look like in sRGB.

Needs numpy, Pillow, avifenc, avifdec and heif-enc. The pictures are computed here, from the standards,
and what avifdec reads from each AVIF is converted back as a check.
"""
import os
import struct
import subprocess
import tempfile
import zlib

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
W, H = 96, 64
PRIMARIES = {  # x and y of red, green and blue (H.273); the white is D65
    1: (.64, .33, .30, .60, .15, .06), 9: (.708, .292, .170, .797, .131, .046),
    12: (.680, .320, .265, .690, .150, .060),
}

CURVES = {13: 'iec61966-2-1', 14: 'bt2020-10', 16: 'smpte2084', 18: 'arib-std-b67'}


def to_xyz(code):
    xy = np.array(PRIMARIES[code]).reshape(3, 2)
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in xy]).T
    x, y = .3127, .3290
    return columns * np.linalg.solve(columns, [x / y, 1, (1 - x - y) / y])


def matrix(a, b):
    return np.linalg.solve(to_xyz(b), to_xyz(a))


def srgb(v):
    v = np.clip(v, 0, 1)
    return np.where(v <= .0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - .055)


def linear(v):
    return np.where(v <= .04045, v / 12.92, ((v + .055) / 1.055) ** 2.4)


def bt2020(v):  # also BT.709
    return np.where(v < .018054, 4.5 * v, 1.099297 * np.maximum(v, 0) ** .45 - .099297)


def pq(v):  # SMPTE ST 2084; 1 is 203 nits
    y = (v * 203 / 10000) ** .1593017578125
    return ((.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(v):  # BT.2100; a display of 1,000 nits of which white has 203
    display = v * 203 / 1000
    luminance = display @ [.2627, .6780, .0593]
    scene = display * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    log = .17883277 * np.log(np.maximum(12 * scene - .28466892, 1e-9)) + .55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), log)


def tone(v):  # up to a half of white as it is, above with a limit of white
    most = v.max(-1, keepdims=True)
    return v * np.where(most <= .5, 1, (1 - .5 * np.exp(-(most - .5) / .5)) / np.maximum(most, 1e-9))


def scene():
    """Light of sRGB's primaries, from 0 to 1: hues from the left to the right, darker downwards."""
    x, y = np.meshgrid(np.arange(W) / W, np.arange(H) / H)
    hue = np.stack([np.cos(2 * np.pi * (x - n / 3)) for n in range(3)], -1) * .5 + .5
    return linear(hue * (1 - .8 * y[..., None]) * .9 + .05)


def png16(path, v):
    v = (np.clip(v, 0, 1) * 65535).round().astype('>u2')
    rows = b''.join(b'\0' + row.tobytes() for row in v)
    chunk = lambda name, body: struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))
    head = struct.pack('>IIBBBBB', v.shape[1], v.shape[0], 16, 2, 0, 0, 0)
    body = chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    open(path, 'wb').write(b'\x89PNG\r\n\x1a\n' + body)


def read16(path):
    """The samples of a 16-bit RGB PNG without interlacing, which Pillow would cut to 8 bits."""
    b, at, data, width, height = open(path, 'rb').read(), 8, b'', 0, 0
    while at < len(b):
        size, name = struct.unpack('>I4s', b[at:at + 8])
        if name == b'IHDR':
            width, height = struct.unpack('>II', b[at + 8:at + 16])
        if name == b'IDAT':
            data += b[at + 8:at + 8 + size]
        at += 12 + size
    raw, rows = bytearray(zlib.decompress(data)), []
    last = bytearray(6 * width)
    for y in range(height):
        kind, row = raw[y * (6 * width + 1)], raw[y * (6 * width + 1) + 1:(y + 1) * (6 * width + 1)]
        for i in range(len(row)):
            a, up, corner = (row[i - 6] if i > 5 else 0), last[i], (last[i - 6] if i > 5 else 0)
            p = a + up - corner
            near = min((abs(p - a), 0, a), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
            row[i] = (row[i] + (0, a, up, (a + up) // 2, near)[kind]) & 255
        rows.append(np.frombuffer(bytes(row), '>u2').reshape(width, 3))
        last = row
    return np.array(rows) / 65535


def psnr(a, b):
    return 10 * np.log10(1 / max(((a - b) ** 2).mean(), 1e-12))


light = scene()
bright = light * 3  # up to 609 nits
files = {  # name: light, primaries, transfer, matrix, curve
    'p3': (light, 12, 13, 6, srgb), 'bt2020': (light, 9, 14, 9, bt2020),
    'pq': (bright, 9, 16, 9, pq), 'hlg': (bright, 9, 18, 9, hlg),
}
Image.fromarray((srgb(light) * 255).round().astype('u1')).save(HERE + '/sdr.png')
wanted = srgb(tone(bright @ matrix(1, 9).T) @ matrix(9, 1).T)
Image.fromarray((wanted * 255).round().astype('u1')).save(HERE + '/hdr.png')
with tempfile.TemporaryDirectory() as tmp:
    for name, (picture, primaries, transfer, coefficients, curve) in files.items():
        samples = curve(np.maximum(picture @ matrix(1, primaries).T, 0))
        png16(tmp + '/from.png', samples)
        out = '%s/%s' % (HERE, name)
        cicp = '%d/%d/%d' % (primaries, transfer, coefficients)
        subprocess.run(['avifenc', '-d', '10', '-y', '420', '-s', '0', '--min', '4', '--max', '8', '-r', 'limited',
                        '--cicp', cicp, tmp + '/from.png', out + '.avif'], check=True)
        # heif-enc writes no colr box, and always the matrix of BT.601.
        named = {9: 'bt2020', 12: 'smpte432'}[primaries], CURVES[transfer], 'smpte170m', 'full'
        options = ['x265:%s=%s' % option for option in zip(('colorprim', 'transfer', 'colormatrix', 'range'), named)]
        args = [arg for option in ['chroma=444'] + options for arg in ('-p', option)]
        subprocess.run(['heif-enc', '-q', '96', '-b', '10'] + args + ['-o', out + '.heic', tmp + '/from.png'], check=True)
        subprocess.run(['avifdec', '-d', '16', out + '.avif', tmp + '/back.png'], check=True)
        print(name, 'as avifdec reads it: %.1f dB' % psnr(read16(tmp + '/back.png'), samples))
    ramp = np.broadcast_to((np.arange(64) / 63)[None, :, None], (8, 64, 3))
    png16(tmp + '/from.png', ramp)
    subprocess.run(['avifenc', '-d', '10', '-y', '444', '-s', '0', '--min', '0', '--max', '4', '-r', 'limited',
                    '--cicp', '12/13/0', tmp + '/from.png', HERE + '/identity.avif'], check=True)
