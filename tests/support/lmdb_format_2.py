"""The records that programs with format 2 of LMDB stores wrote, and their file of heartbeats."""

from hashlib import blake2b

#: web1: an agent with two faults, whose last heartbeat is in its slot only.  web2: an agent with two instances.
FORMAT_2 = {
    b"version": b"2",
    b"a:web1": b"\x00@bAYD\x06\x00revision" + bytes(8) + b"\x01A\x00"
    b"db867a7b4ecd92caef31af686d8a2a94 c1b58e11c6b9aa5cd7f0cd8743cc02f6"
    b'[["web1.example.com",4711,"1.0","Linux 6.1",1764000000000000,1764000000000000]]',
    b"a:web2": b"\x00\xc7\xf5DYD\x06\x00revision\x02" + bytes(7) + b"\x02A\x00"
    b"7ebb3c7c2a87b1a2f8a7ed729ecb040d 74e248ae0d466ae8af850e53205ea42a"
    b'[["web1.example.com",4711,"1.0","Linux 6.1",1764000000000000,1764000000000000],'
    b'["web1.example.com",4712,"1.0","Linux 6.1",1764000060000000,1764000060000000]]',
    b"f:web1": b"2" + bytes(7) + b"\x00\x81$i" + bytes(4) + b'[{"message":"m","name":"//web1/a","severity":50,'
    b'"since":1764000000},{"free":8.0,"message":"92 % used","name":"//web1/disk","severity":40,"since":1764000000}]',
    b"s:" + blake2b(b"^//web1/", digest_size=32).digest(): b'{"expires":null,"permanent":true,'
    b'"reason":"new rack","regex":"^//web1/","time":1764000000,"user":"ann"}',
    b"slots": b"3",
    b"x:" + bytes(7) + b"\x01": b"",
}
#: A heartbeat of web1, 600 seconds after its report.
HEARTBEATS_2 = b"revision\x00\x86%eYD\x06\x00\xb2\x81\xb6\xe8" + bytes(12)
