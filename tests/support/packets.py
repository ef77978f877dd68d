"""What is sent by who does not know, or does not want, HTTP/1.1. The first, third and fifth end a stock hypercorn."""

UPGRADE = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade%s\r\nUpgrade: %s\r\n"
WEBSOCKET = UPGRADE % (b"", b"websocket") + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n\r\n"

PACKETS = {
    "h2c with bad settings": UPGRADE % (b", HTTP2-Settings", b"h2c") + b"HTTP2-Settings: !!!!\r\n\r\n",
    "h2c with good settings": UPGRADE % (b", HTTP2-Settings", b"h2c") + b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "WebSocket with a trailing byte": WEBSOCKET + b"\x00",
    "WebSocket with frames": WEBSOCKET + b"\x81\x85\x00\x00\x00\x00hello\xff\xff\xff",
    "a Host that is no text": b"GET /health HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    "cleartext HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "half of an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\n",
    "a TLS greeting": bytes.fromhex("1603010200010001fc0303") + bytes(300),
    "no HTTP": b"\x00\x01\x02 hello\r\n\r\n",
    "an endless line": b"GET /" + b"a" * 300_000,
    "an endless header": b"GET / HTTP/1.1\r\nX: " + b"a" * 300_000,
    "a path that is no text": b"GET /\xff\xfe%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a query that is no text": b"GET /jobs?state=%ff%fe&%00=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "no Host": b"GET /health HTTP/1.1\r\n\r\n",
    "two lengths": b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\n{}",
    "a negative length": b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a huge length": b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    "a bad chunk": b"POST /jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "length and chunks": b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": b"POST /jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "HTTP/1.0": b"GET /health HTTP/1.0\r\n\r\n",
    "HTTP/9": b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an absolute target": b"GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "an absolute bad target": b"GET http://[x/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "a pipeline": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 100,
    "an expectation": b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
    "many headers": b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: 1\r\n" % n for n in range(3000)) + b"\r\n",
    "a cookie of nonsense": b"GET /health HTTP/1.1\r\nHost: x\r\nCookie: \xff=;;;==\r\nAccept: \xff\r\n\r\n",
    "a form": b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data\r\nContent-Length: 1\r\n\r\n-",
    "nothing": b"",
}
