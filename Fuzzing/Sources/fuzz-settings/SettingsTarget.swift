// Fuzz target: configuration and profiles as YAML, and taking a seed out of a configuration.

import FuzzSupport
import PKI
import Settings

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSettings(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = FuzzInput(data, count)
    switch input.choice() {
    case UInt8(ascii: "s"): if let text = input.text { checkScalar(text) }
    case UInt8(ascii: "r"): checkSeedRemoval(input.bytes)
    // A profile begins with a comment that says so.
    case UInt8(ascii: "p"): checkProfile(input.bytes)
    default: checkConfiguration(FuzzInput(data, count).bytes)
    }
    return 0
}

/// A profile that is read is rendered and read as the same, from text and from its tree.
private func checkProfile(_ bytes: [UInt8]) {
    do throws(SettingsError) {
        let profile = try ProfileFile.parse(bytes, file: "p.yml", name: "p")
        let text = ProfileFile.render(profile)
        guard let again = try? ProfileFile.parse(text, file: "p.yml", name: "p") else { broken("a rendered profile is not read:\n\(text)") }
        demand(again == profile, "a rendered profile is another one:\n\(text)")
        demand((try? ProfileFile.read(ProfileFile.tree(profile), name: "p")) == profile, "a profile's tree is another one:\n\(text)")
    } catch {
        check(error)
    }
}

/// What a configuration says of names and places is written into a new file and read as the same.
private func checkConfiguration(_ bytes: [UInt8]) {
    do throws(SettingsError) {
        let read = try Configuration.parse(bytes, file: "ca.config.yml")
        demand((1...65_534).contains(read.port), "port \(read.port)")
        demand(read.crlValidity > 0 && read.ocspValidity > 0 && read.ocspMaxAge >= 0 && read.ocspOfflineGrace >= 0, "a negative time")
        for warning in read.warnings { demand(isOneCleanLine(warning), "a warning is one line: \(warning)") }
        let text = Configuration.defaultText(company: read.company, domain: read.domain, port: read.port, keyType: read.keyType ?? .ecP256)
        guard let again = try? Configuration.parse(text, file: "ca.config.yml") else { broken("a new configuration is not read:\n\(text)") }
        demand(
            again.company == read.company && again.domain == read.domain && again.port == read.port, "a new configuration is another one")
    } catch {
        check(error)
    }
}

/// A text written as a YAML scalar is read as the same text; characters that no file may hold are written as escapes.
private func checkScalar(_ text: String) {
    let yaml = "key: " + YAMLText.scalar(text) + "\n"
    guard yaml.utf8.count <= YAMLText.sizeLimit else { return }
    guard case .map(let entries)? = try? YAMLText.parse(Array(yaml.utf8), file: nil).value, entries.count == 1 else {
        broken("a scalar is not read: \(yaml)")
    }
    guard case .string(let again) = entries[0].value.value else { broken("a scalar is no text: \(yaml)") }
    demand(again.unicodeScalars.elementsEqual(text.unicodeScalars), "a scalar is read as another text: \(yaml)")
}

/// What is left has no seed, and taking it out again changes nothing.
private func checkSeedRemoval(_ bytes: [UInt8]) {
    do throws(SettingsError) {
        let rest = try Configuration.textWithoutSeed(bytes, file: "ca.config.yml")
        demand((try? Configuration.textWithoutSeed(rest, file: "ca.config.yml")) == rest, "a seed is left")
    } catch {
        check(error)
    }
}

/// A refusal is one line for each problem, bounded, and names the file.
private func check(_ error: SettingsError) {
    demand(!error.problems.isEmpty && error.problems.count <= 51, "\(error.problems.count) problems")
    for problem in error.problems {
        demand(isOneCleanLine(problem.description), "a problem is one line: \(problem)")
        demand(problem.description.utf8.count < 4_000, "a problem has \(problem.description.utf8.count) octets")
        demand(problem.line.map { $0 >= 1 } ?? true, "line \(problem.line ?? 0)")
    }
}
