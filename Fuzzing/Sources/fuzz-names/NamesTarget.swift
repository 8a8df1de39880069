// Fuzz target: distinguished names in both notations, alternative names, serial numbers, times, PEM and its encodings.

import FuzzSupport
import PKI

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzNames(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = FuzzInput(data, count)
    checkEncodings(input.bytes)
    guard let text = input.text else { return 0 }
    checkName(text)
    checkAlternativeName(text)
    checkSerial(text)
    checkTime(text)
    checkPattern(text)
    return 0
}

/// A name that is read is written in both notations and read as the same name.
private func checkName(_ text: String) {
    _ = DistinguishedName.query(text)
    guard let name = DistinguishedName.parse(text) else { return }
    demand(!name.isEmpty && name.relativeNames.allSatisfy { !$0.isEmpty }, "a name has an empty part")
    // Escapes can make a name longer than what is read.
    if name.slashNotation.utf8.count <= 8_192 {
        guard let again = DistinguishedName.parse(name.slashNotation) else { broken("slashes are not read: \(name.slashNotation)") }
        demand(isSame(again, name), "slashes are read as another name: \(name.slashNotation)")
    }
    if name.rfc4514.utf8.count <= 8_192 {
        guard let again = DistinguishedName.parse(name.rfc4514) else { broken("RFC 4514 text is not read: \(name.rfc4514)") }
        demand(isSame(again, name), "RFC 4514 text is read as another name: \(name.rfc4514)")
    }
    let reversed = DistinguishedName(relativeNames: name.relativeNames.reversed())
    demand(reversed == name && reversed.hashValue == name.hashValue, "the reversed name is another one")
    if let x509 = try? name.x509() { demand(DistinguishedName(x509) == name, "the name comes back from X.509 as another one: \(name)") }
}

/// The same types and values in the same order, which is stricter than equality.
private func isSame(_ left: DistinguishedName, _ right: DistinguishedName) -> Bool {
    left == right
        && left.relativeNames.elementsEqual(right.relativeNames) {
            $0.elementsEqual($1) { $0.type == $1.type && $0.value.unicodeScalars.elementsEqual($1.value.unicodeScalars) }
        }
}

/// A name without a fault is written as its kind and value and read as the same; a certified address has one text.
private func checkAlternativeName(_ text: String) {
    let name = AlternativeName(looking: text)
    if let fault = name.fault { return demand(isOneCleanLine(fault), "the fault is one line") }
    guard let again = AlternativeName(kind: name.kind, value: name.value) else { broken("\(name.kind) \(name.value) is not read") }
    demand(again == name, "\(name.kind) \(name.value) is read as another name")
    demand(name.value.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }, "a certified name is ASCII without spaces: \(name.value)")
    demand(AlternativeName(name.generalName) == name, "the name comes back from X.509 as another one")
    if let octets = IPAddress.octets(text) {
        demand(IPAddress.octets(IPAddress.text(octets)) == octets, "an address is read as another one: \(IPAddress.text(octets))")
    }
}

/// A serial number is at most 20 octets, positive, and the same in its three notations.
private func checkSerial(_ text: String) {
    guard let serial = SerialNumber(text: text) else { return }
    demand((1...20).contains(serial.bytes.count) && serial.bytes.first != 0, "a serial number of \(serial.bytes)")
    demand(SerialNumber(text: serial.decimal) == serial, "decimal: \(serial.decimal)")
    demand(SerialNumber(text: "0x" + serial.hexadecimal) == serial, "hexadecimal: \(serial.hexadecimal)")
    demand(SerialNumber(bytes: serial.paddedBytes) == serial, "octets: \(serial.paddedBytes)")
}

/// A time is written and read as the same.
private func checkTime(_ text: String) {
    guard let time = UnixTime(rfc3339: text) else { return }
    let again = UnixTime(rfc3339: time.rfc3339)
    // An offset can lead out of the years of four digits.
    demand(again == time || !(0...9_999).contains(time.civil.year), "\(text) is \(time.rfc3339)")
}

private func checkPattern(_ text: String) {
    guard let pattern = NamePattern(text) else { return }
    demand(NamePattern(pattern.description) == pattern, "a pattern is read as another one: \(pattern)")
    _ = pattern.matches(text)
}

/// What decodes is encoded to what decodes to the same.
private func checkEncodings(_ bytes: [UInt8]) {
    demand(Base64.decode(Base64.encode(bytes)) == bytes && Base64.decode(Base64.encode(bytes, lineLength: 64)) == bytes, "base64")
    demand(Hexadecimal.decode(Hexadecimal.encode(bytes)) == bytes, "hexadecimal")
    if let decoded = Base64.decode(bytes) { demand(Base64.decode(Base64.encode(decoded)) == decoded, "base64 of what was decoded") }
    let labels = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"]
    _ = PEM.decodeFirst(String(decoding: bytes, as: UTF8.self), labels: labels)
    demand(PEM.decodeFirst(PEM.encode(bytes, label: labels[1]), labels: labels) == bytes, "PEM")
}
