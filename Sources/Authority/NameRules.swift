// Which names may be certified for whom: host name rules, the blocked list, the limits of profile and node.

import PKI

/// Checks the names of one request.
struct NameRules {
    let profile: CertificateProfile
    let rules: Rules
    let actor: Actor

    /// The largest number of names in one certificate; a browser gives up long before.
    static let maximumNames = 1_000

    /// - Throws: `refused` with the first name that may not be certified, and why.
    func check(_ names: [AlternativeName]) throws {
        guard names.count <= Self.maximumNames else {
            throw AuthorityError.refused("Request refused: more than \(Self.maximumNames) alternative names")
        }
        for name in names {
            if let fault = name.fault { throw AuthorityError.refused("Request refused: '\(name.value)': \(fault)") }
            try self.checkBlocked(name)
            try self.checkLimits(name)
        }
    }

    /// A common name that is no host name: text without control characters, at most 64 characters (RFC 5280 appendix A, ub-common-name).
    func check(commonName: String) throws {
        guard !commonName.isEmpty else {
            throw AuthorityError.refused("Request refused: the common name is empty (RFC 5280, X520CommonName)")
        }
        guard commonName.unicodeScalars.count <= 64 else {
            throw AuthorityError.refused("Request refused: the common name has more than 64 characters (RFC 5280, ub-common-name)")
        }
        for scalar in commonName.unicodeScalars where Self.isForbidden(scalar) {
            throw AuthorityError.refused("Request refused: the common name has a control or direction character")
        }
        guard commonName.trimmingSpaces == commonName else {
            throw AuthorityError.refused("Request refused: the common name begins or ends with a space")
        }
        if HostName.isHostName(commonName) {
            try self.checkBlocked(.dns(HostName.folded(commonName)))
            try self.checkLimits(.dns(HostName.folded(commonName)))
        } else if commonName.utf8.contains(UInt8(ascii: "@")), let at = commonName.lastIndex(of: "@"),
            HostName.isHostName(String(commonName[at...].dropFirst()))
        {
            try self.checkBlocked(.email(commonName))
            try self.checkLimits(.email(commonName))
        } else {
            // TLS clients of old compare the CN with the host: what is meant as one has to be one.
            if self.profile.extendedKeyUsage.contains(.serverAuth), commonName.contains("."), !commonName.contains(" "),
                IPAddress.octets(commonName) == nil, let fault = HostName.fault(HostName.folded(commonName), allowsWildcard: true)
            {
                throw AuthorityError.refused("Request refused: '\(commonName)': \(fault)")
            }
            guard !commonName.utf8.contains(UInt8(ascii: "*")) else {
                throw AuthorityError.refused(
                    "Request refused: '\(commonName)': a wildcard may only be the whole first label of a host name")
            }
            guard self.profile.permits(otherName: commonName), self.nodePermits(literally: commonName) else {
                throw self.outsideLimits(commonName)
            }
        }
    }

    /// The names of a certificate that exists, under the rules of this moment.
    func check(names: [AlternativeName], recordedCommonName: String) throws {
        try self.check(names)
        if !recordedCommonName.isEmpty { try self.check(commonName: recordedCommonName) }
    }

    /// Control characters, and those that make text read in another order than it stands.
    static func isForbidden(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x20..<0x7f: false
        case 0..<0x20, 0x7f..<0xa0, 0x200b...0x200f, 0x2028...0x202e, 0x2060...0x206f, 0xfeff, 0xfff9...0xfffb: true
        // The soft hyphen and the like are in the text and not to be seen.
        default: scalar.properties.isDefaultIgnorableCodePoint
        }
    }

    private func checkBlocked(_ name: AlternativeName) throws {
        let host: String
        switch name {
        case .dns(let value): host = value.hasPrefix("*.") ? String(value.dropFirst(2)) : value
        case .email(let value): host = value.split(separator: "@").last.map { $0.lowercased() } ?? ""
        default: return
        }
        if self.rules.blockedNames.contains(where: { $0.matches(host) || $0.matches(name.value) }) {
            throw AuthorityError.refused("Request refused: '\(name.value)' is on the list of blocked names (names.blocked)")
        }
    }

    private func checkLimits(_ name: AlternativeName) throws {
        let profileAgrees: Bool
        let limits = self.actor.node?.names
        let nodeAgrees: Bool
        switch name {
        case .dns(let value):
            profileAgrees = self.profile.permits(hostName: value)
            nodeAgrees = limits?.contains { $0.matches(value) } ?? true
        case .email(let value):
            profileAgrees = self.profile.permits(emailAddress: value)
            let host = value.split(separator: "@").last.map { String($0) } ?? ""
            nodeAgrees = limits?.contains { $0.matches(value) || $0.matches(host) } ?? true
        case .ip:
            profileAgrees = self.profile.permits(otherName: name.value)
            nodeAgrees = self.nodePermits(literally: name.value)
        case .uri(let value):
            profileAgrees = self.profile.permits(otherName: value)
            // A URI is its host's, whatever stands behind it.
            nodeAgrees =
                self.nodePermits(literally: value)
                || (Self.host(ofURI: value).map { host in limits?.contains { $0.matches(host) } ?? true } ?? false)
        }
        guard profileAgrees, nodeAgrees else { throw self.outsideLimits(name.value) }
    }

    /// Suffixes are for host names: any other text must stand in the node's list as it is.
    private func nodePermits(literally text: String) -> Bool {
        self.actor.node?.names?.contains { $0.description == HostName.folded(text) } ?? true
    }

    /// The host of `scheme://user@host:port/…` (RFC 3986 3.2.2); nil where there is no authority part.
    static func host(ofURI text: String) -> String? {
        guard let start = text.range(ofASCII: "://") else { return nil }
        var authority = text[start...].prefix { !"/?#".contains($0) }
        if let at = authority.lastIndex(of: "@") { authority = authority[authority.index(after: at)...] }
        if let colon = authority.lastIndex(of: ":"), !authority.hasPrefix("[") { authority = authority[..<colon] }
        return authority.isEmpty ? nil : HostName.folded(String(authority))
    }

    private func outsideLimits(_ name: String) -> AuthorityError {
        .refused("Request refused: '\(name)' is outside the names that the profile \(self.profile.name) or this node may ask for")
    }
}

extension String {
    /// Where the text goes on after the first occurrence of `pattern`.
    fileprivate func range(ofASCII pattern: String) -> String.Index? {
        var position = self.startIndex
        while position < self.endIndex {
            if self[position...].hasPrefix(pattern) { return self.index(position, offsetBy: pattern.count) }
            position = self.index(after: position)
        }
        return nil
    }

    /// Without spaces at its ends.
    fileprivate var trimmingSpaces: String {
        var text = Substring(self)
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
