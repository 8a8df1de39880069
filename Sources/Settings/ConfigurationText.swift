// The text of ca.config.yml: how a new one is written, and how a seed is taken out of an old one.

extension Configuration {
    /// The text of a new configuration file, with a comment for every setting. Reading it gives the values named here and defaults.
    public static func defaultText(
        company: String = "Company Name", domain: String = "example.com", host: String = "127.0.0.1", port: Int = 5000,
        keyType: AuthorityKeyType = .ecP256
    ) -> String {
        """
        # Configuration of uPKI CA. Flags and environment (UPKI_CA_HOST) go before it; `ca-ctl reload` reads it again.
        # What is commented out is the default. Unknown keys and bad values are refused with their line.

        # The organisation in the subject of the CA and of what it issues, and the domain of its names.
        company: \(YAMLText.scalar(company))
        domain: \(YAMLText.scalar(domain))

        # Where the CA listens: port for nodes, and the next one for the registrar while RAs are being registered.
        host: \(YAMLText.scalar(host))
        port: \(port)

        # Who is a node on a loopback address: all (every local process), register (those that registered), manual (those added by hand).
        # clients: register

        # How peers prove who they are: plain by their address, curve by a key, encrypted. Without a word it is plain on loopback and curve
        # elsewhere. Several listeners stand in the place of host and security, each address once; both ports are had on each of them.
        # listeners:
        #   - {address: 127.0.0.1, security: plain}
        #   - {address: 192.0.2.10, security: curve}
        # Where nodes reach the CA by other addresses or names than those of its curve listeners: what enrolment strings say.
        # advertise: [ca.example.com]

        # Off loopback, plain has to be asked for by name, with every address that may ask. Anyone who can send from one of them, or listen
        # in between, then has that node's rights.
        # security: plain
        # nodes:
        #   - {address: 192.0.2.10, node: ra.example.com}

        # What `ca-ctl init` makes: ec-p256, ec-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096; and the digest of the CA's signatures.
        key_type: \(keyType.rawValue)
        # digest: sha256

        # Where the CA key rests: file (ca.key, mode 0600), encrypted (with the password in password_file, or in the systemd credential
        # ca-key-password), seed (derived at each start).
        # key_storage: file
        # password_file: /etc/upki-ca/key-password

        # Days, or a duration such as 12h, until a CRL has to be replaced.
        # crl_validity: 7

        # What an RA may register for, and whether the seed itself (instead of a token) is accepted from a network.
        # registration:
        #   profiles: [ra]
        #   accept_seed_in_clear: false

        # Where relying parties fetch CRL, OCSP and the CA certificate. Without it certificates carry no URLs.
        # publication:
        #   base_url: http://pki.example.com

        # What can be taken back: hold (certificateHold alone), any (whatever is not a compromise).
        # revocation:
        #   release: hold

        # The OCSP bridge. Seconds, or durations such as 12h: until an answer has to be replaced, that HTTP caches keep it, that a cached
        # "good" is served while the CA is away. What becomes of a nonce: echo, ignore, or require (nobody is answered without one).
        # The rest is taken up when the bridge is started: MiB for answers, connections at once, and whose its socket is, so that nginx
        # may connect (owner and group by name).
        # ocsp:
        #   validity: 12h
        #   max_age: 300s
        #   offline_grace: 60s
        #   nonce: echo
        #   cache: 64
        #   connections: 1024
        #   socket: {group: www-data, mode: "0660"}

        # Names that stand in no certificate; "*.suffix" means every name below one.
        # names:
        #   blocked: [localhost, local, "*.invalid"]

        # MiB set aside beside the store, so that revocations and their CRL go on when the disk is full; 0 for none. Read at each start.
        # store:
        #   reserve: 32

        # What one identity (a key, or an address without one), one address and all together may take of ports 5000 and 5001: connections
        # at once and new ones a second, requests in flight and a second, MiB in flight, KiB of a message. docs/SECURITY.md explains them.
        # limits:
        #   connections: 4096
        #   connections_per_address: 256
        #   connection_rate: 200
        #   handshake: 2s
        #   message_size: 1024
        #   requests: 10000
        #   requests_per_identity: 5000
        #   requests_per_address: 5000
        #   bytes_per_identity: 32
        #   bytes_per_address: 32
        #   rate_per_identity: 20000
        #   rate_per_address: 50000
        #   stranger_rate: 200

        # How log lines look, auto (plain on a terminal, else JSON), plain or json, and from which level on there are any: trace, debug,
        # info, notice, warning, error or critical.
        # log:
        #   format: auto
        #   level: info

        """
    }

    /// The text of a configuration file without its `seed` entry; comments and everything else stay as they are.
    ///
    /// Nothing is written here: the caller replaces the file so that a crash leaves the old one or the new one.
    ///
    /// - Parameters:
    ///   - bytes: the file's bytes.
    ///   - file: what messages call the file.
    /// - Returns: the new bytes; the same where there is no seed.
    /// - Throws: where the entry cannot be told from its surroundings, or the seed stands somewhere else in the file as well.
    public static func textWithoutSeed(_ bytes: [UInt8], file: String) throws(SettingsError) -> [UInt8] {
        guard case .map(let entries) = try YAMLText.parse(bytes, file: file).value,
            let seed = entries.first(where: { $0.key == "seed" }), let number = seed.line
        else { return bytes }
        func failure(_ reason: String, line: Int? = number) -> SettingsError {
            SettingsError(.seedNotRemovable, source: file, line: line, "the seed cannot be taken out: \(reason); remove it by hand")
        }
        // By bytes, with their line ends, so that nothing else changes.
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let texts = lines.map { String(decoding: $0, as: UTF8.self) }
        var first = texts[number - 1]
        if number == 1, first.hasPrefix("\u{FEFF}") { first.removeFirst() }
        let indent = first.prefix(while: { $0 == " " }).count
        guard ["seed", "\"seed\"", "'seed'"].contains(where: { first.dropFirst(indent).hasPrefix($0) }) else {
            throw failure("its line holds something else too")
        }
        let end = YAMLText.end(ofEntryAt: number - 1, indent: indent, in: texts)
        let byteOrderMark: [UInt8] = number == 1 && bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? [0xEF, 0xBB, 0xBF] : []
        lines.removeSubrange(number - 1..<end)
        let result = byteOrderMark + Array(lines.joined(separator: [UInt8(ascii: "\n")]))

        // The proof that nothing else went with it, whatever YAML made of the lines.
        let rest: [SettingEntry]
        switch try? YAMLText.parse(result, file: file).value {
        case .map(let remaining)?: rest = remaining
        case .null?: rest = []
        default: throw failure("the text around it is not understood")
        }
        let expected = entries.filter { $0.key != "seed" }
        guard rest.count == expected.count, zip(rest, expected).allSatisfy({ $0.key == $1.key && $0.value.hasSameContent(as: $1.value) })
        else {
            throw failure("the text around it is not understood")
        }
        if case .string(let secret) = seed.value.value, !secret.isEmpty {
            for (index, line) in result.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated()
            where contains(line, Array(secret.utf8)) {
                // Its line in the file as it stands.
                throw failure("it stands here once more", line: index < number - 1 ? index + 1 : index + 1 + end - (number - 1))
            }
        }
        return result
    }
}

extension Setting {
    /// Equality without lines.
    func hasSameContent(as other: Setting) -> Bool {
        switch (self.value, other.value) {
        case (.list(let left), .list(let right)):
            left.count == right.count && zip(left, right).allSatisfy { $0.hasSameContent(as: $1) }
        case (.map(let left), .map(let right)):
            left.count == right.count && zip(left, right).allSatisfy { $0.key == $1.key && $0.value.hasSameContent(as: $1.value) }
        default: self.value == other.value
        }
    }
}

/// Whether a run of bytes holds another.
private func contains(_ bytes: ArraySlice<UInt8>, _ part: [UInt8]) -> Bool {
    guard let first = part.first, bytes.count >= part.count else { return false }
    return bytes.indices.dropLast(part.count - 1).contains { bytes[$0] == first && bytes[$0..<$0 + part.count].elementsEqual(part) }
}
