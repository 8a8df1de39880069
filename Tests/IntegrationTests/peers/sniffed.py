"""Looks for texts in the TCP streams of a capture.

    stdin:  {"capture": path of a pcap file, "texts": [texts to look for]}
    stdout: {"packets", "bytes": {port: bytes of payload}, "found": [texts that a stream holds], "curve": [ports whose clients' streams begin as CURVE does]}

Streams are put together by their sequence numbers, so that a text that two segments share is found too.
"""

import json
import struct
import sys

SYN = 2  # of the flags SYN and ACK: a client's first segment


def segments(data: bytes):
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    (link,) = struct.unpack(order + "I", data[20:24])
    assert link == 1, f"link type {link} is not Ethernet"
    at = 24
    while at + 16 <= len(data):
        _, _, kept, length = struct.unpack(order + "IIII", data[at : at + 16])
        assert kept == length, "a packet was cut"
        frame = data[at + 16 : at + 16 + kept]
        at += 16 + kept
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        header = (frame[14] & 15) * 4
        (total,) = struct.unpack(">H", frame[16:18])
        tcp = frame[14 + header : 14 + total]
        source, target, sequence = struct.unpack(">HHI", tcp[:8])
        payload = tcp[(tcp[12] >> 4) * 4 :]
        yield (frame[26:30], source, frame[30:34], target), sequence, tcp[13] & 0x12, payload


def main() -> None:
    given = json.load(sys.stdin)
    with open(given["capture"], "rb") as file:
        data = file.read()
    packets = 0
    streams: dict = {}
    current: dict = {}
    opened = set()
    for flow, sequence, flags, payload in segments(data):
        packets += 1
        if flags & SYN:
            current[flow] = (flow, sequence, packets)
            if flags == SYN:
                opened.add(current[flow])
            streams[current[flow]] = {}
            continue
        if payload and flow in current:
            first = current[flow][1]
            streams[current[flow]][(sequence - first - 1) & 0xFFFFFFFF] = payload
    found, curve, sizes = set(), set(), {}
    for stream, pieces in streams.items():
        flow = stream[0]
        text = bytearray()
        for offset in sorted(pieces):
            piece = pieces[offset]
            if offset < len(text):
                piece = piece[len(text) - offset :]
            elif offset > len(text):
                text += b"\0" * min(offset - len(text), 1)
            text += piece
        for port in (flow[1], flow[3]):
            sizes[str(port)] = sizes.get(str(port), 0) + len(text)
        if stream in opened and text[:1] == b"\xff" and text[12:17] == b"CURVE":
            curve.add(flow[3])
        found |= {one for one in given["texts"] if one.encode() in text}
    json.dump({"packets": packets, "bytes": sizes, "found": sorted(found), "curve": sorted(curve)}, sys.stdout)


main()
