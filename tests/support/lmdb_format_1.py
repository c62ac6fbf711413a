"""The records that programs with format 1 of LMDB stores wrote."""

from hashlib import blake2b

ROW_1 = (
    b"1764000000000000 7a05b52a926ecbe1cf4f9fec8e9ea84c c1b58e11c6b9aa5cd7f0cd8743cc02f6"
    b' [["web1.example.com",4711,"1.0","Linux 6.1",1764000000000000,1764000000000000]]'
)
FORMAT_1 = {
    b"version": b"1",
    b"a:web1": ROW_1,
    b"f:web1": b'[{"free":8.0,"message":"92 % used","name":"//web1/disk","severity":40,"since":1763000000},'
    b'{"message":"m","name":"//web1/load","severity":50,"since":1763500000},'
    b'{"message":"m","name":"//web1/a","severity":50,"since":1763400000}]',
    b"a:web2": b"1763999000000000 7ebb3c7c2a87b1a2f8a7ed729ecb040d c1b58e11c6b9aa5cd7f0cd8743cc02f6"
    b' [["web1.example.com",4710,"1.0","Linux 6.1",1763990000000000,1763998900000000],'
    b'["web1.example.com",4711,"1.0","Linux 6.1",1763998000000000,1763999000000000]]',
    b"s:" + blake2b(b"^//web1/", digest_size=32).digest(): b'{"expires":null,"permanent":true,'
    b'"reason":"new rack","regex":"^//web1/","time":1764000000,"user":"ann"}',
}
