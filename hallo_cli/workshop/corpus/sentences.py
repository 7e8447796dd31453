"""Sentences for espeak-ng's voices: everyday words of many languages, and of English invented ones, too.

Other languages bring sounds that English lacks and other rhythms; invented words make every phone met.
"""

from __future__ import annotations

import numpy as np

ENGLISH = "en"
_ENGLISH_TEXT = """
a about above after again air all almost along always amazing and animal another answer apple are around ask
at autumn away baby back ball bank be beautiful because bed been before began behind believe below best
better between big bird black blue boat body book both box boy bread bring brother brown build busy but buy
by call came can car carry change cheese child choose church city clear close cloud coffee cold colour come
could country cousin cup dark day deep did different dinner do dog door down draw dream drive early earth
east easy eat eight else enough even evening ever every eye face family far farm fast father favour feel few
field fifty film find fire first fish five flower follow food for forest forget found four free friend from
front full funny game garden gave get girl give go gold good goodbye great green grow had half hand happy
hard have he hear heart heavy hello help her here high hill him his hold home hope horse hot hour house how
hundred idea if in into is it join joy jump just keep kind king kitchen know language large last late laugh
learn leave left letter life light like listen little live long look loud love low lunch made make mama man
many map may maybe me measure meet member might milk mind minute money month moon more morning mother
mountain mouth move much music must my name near never new next nice night nine no noise north now number
ocean of off often oil old on once one only open or orange other our out over page paint papa paper park
part people perhaps picture place plan play please point poor power pretty probably problem pull purple push
put question quick quiet rain read ready real red remember rest rich right river road room round run said
same sand save saw say school sea second see seven shape she ship shoe shop short should show sing sister
sit six sky sleep slow small smile snow so some song soon sound south speak spring stand star start stay
still stone stop story strange street strong student such sugar summer sun sure swim table take talk tall
teach television tell ten than thank that the their them then there these they thing think this those
thought three through time to today together tomorrow too took top town travel tree true try turn two under
until up us use usual vegetable very village visit voice wait walk wall want warm was watch water way we
weather week well went were west wet what wheel when where which white who why wide wife will wind window
winter wish with woman wonder wood word work world would write wrong year yellow yes yesterday you young
your zero
"""
# espeak-ng's name of the language: words
_FOREIGN_TEXTS = {
    "de": """der die und ich nicht schön über größe zwei brot mutter vater bruder haus baum wasser abend
        straße müde könig hören fünf heute morgen vielleicht apfel pferd kirche zeitung blume glücklich""",
    "fr": """le la je tu nous vous bonjour merci maison enfant père mère pain bon vin blanc petit grande lune
        rue peur deux jeune oiseau feuille campagne soleil aujourd'hui jamais toujours peut-être beaucoup""",
    "es": """el la yo ella nosotros casa perro agua pan madre padre hijo mañana noche siempre mucho calle
        trabajo ciudad amigo llave lluvia guitarra jamón queso verde rojo blanco viejo feliz gracias""",
    "it": """il la io noi casa cane acqua pane madre padre figlio mattina sera sempre molto strada lavoro
        città amico chiave pioggia formaggio bella grande gnocchi famiglia zucchero giorno felice grazie""",
    "pt-br": """o a eu ela nós casa cachorro água pão mãe pai filho manhã noite sempre muito rua trabalho
        cidade amigo chave chuva coração queijo verde vermelho branco velho feliz obrigado viagem""",
    "nl": """de het ik niet mooi huis boom water moeder vader broer avond straat moe koning horen vijf vandaag
        morgen misschien appel paard kerk krant bloem gelukkig schoen goed groen vrouw kind""",
    "sv": """jag du inte vacker hus träd vatten mor far bror kväll gata trött kung höra fem idag morgon
        kanske äpple häst kyrka tidning blomma lycklig sju skön kött björn flicka pojke""",
    "da": """jeg du ikke smuk hus træ vand mor far bror aften gade træt konge høre fem i dag morgen måske
        æble hest kirke avis blomst lykkelig rød grød kage pige dreng""",
    "nb": """jeg du ikke vakker hus tre vann mor far bror kveld gate trøtt konge høre fem i dag morgen kanskje
        eple hest kirke avis blomst lykkelig sjø kjøtt bjørn jente gutt""",
    "fi": """minä sinä emme kaunis talo puu vesi äiti isä veli ilta katu väsynyt kuningas kuulla viisi tänään
        huomenna ehkä omena hevonen kirkko lehti kukka onnellinen yö päivä tyttö poika ystävä""",
    "pl": """ja ty nie piękny dom drzewo woda matka ojciec brat wieczór ulica zmęczony król słyszeć pięć
        dzisiaj jutro może jabłko koń kościół gazeta kwiat szczęśliwy chleb mleko dziękuję żona źródło""",
    "cs": """já ty ne krásný dům strom voda matka otec bratr večer ulice unavený král slyšet pět dnes zítra
        možná jablko kůň kostel noviny květina šťastný chléb mléko děkuji řeka žena""",
    "hu": """én te nem szép ház fa víz anya apa testvér este utca fáradt király hallani öt ma holnap talán
        alma ló templom újság virág boldog kenyér tej köszönöm nő gyerek""",
    "ro": """eu tu nu frumos casă copac apă mamă tată frate seară stradă obosit rege cinci astăzi mâine poate
        măr cal biserică ziar floare fericit pâine lapte mulțumesc femeie copil""",
    "tr": """ben sen değil güzel ev ağaç su anne baba kardeş akşam sokak yorgun kral duymak beş bugün yarın
        belki elma at kilise gazete çiçek mutlu ekmek süt teşekkür kadın çocuk""",
    "el": """εγώ εσύ δεν όμορφος σπίτι δέντρο νερό μητέρα πατέρας αδελφός βράδυ δρόμος βασιλιάς πέντε σήμερα
        αύριο ίσως μήλο άλογο εκκλησία εφημερίδα λουλούδι ψωμί γάλα ευχαριστώ γυναίκα παιδί""",
    "ru": """я ты не красивый дом дерево вода мать отец брат вечер улица король слышать пять сегодня завтра
        может яблоко лошадь церковь газета цветок хлеб молоко спасибо женщина ребёнок жизнь щука""",
    "uk": """я ти не гарний дім дерево вода мати батько брат вечір вулиця король чути п'ять сьогодні завтра
        може яблуко кінь церква газета квітка хліб молоко дякую жінка дитина життя""",
    "ar": """أنا أنت بيت شجرة ماء أم أب أخ مساء شارع ملك خمسة اليوم غدا تفاحة حصان جريدة زهرة سعيد خبز حليب
        شكرا امرأة طفل مدينة قلب صغير كبير مرحبا""",
    "fa": """من تو خانه درخت آب مادر پدر برادر شب خیابان شاه پنج امروز فردا سیب اسب روزنامه گل نان شیر
        ممنون زن بچه شهر دوست کوچک بزرگ خوب""",
    "hi": """मैं तुम नहीं सुंदर घर पेड़ पानी माँ पिता भाई शाम सड़क राजा पाँच आज कल शायद सेब घोड़ा अख़बार फूल खुश
        रोटी दूध धन्यवाद औरत बच्चा दोस्त""",
    "ta": """நான் நீ இல்லை அழகு வீடு மரம் தண்ணீர் அம்மா அப்பா மாலை தெரு அரசன் ஐந்து இன்று நாளை குதிரை பூ பால்
        நன்றி பெண் குழந்தை""",
    "cmn": """你好 世界 我们 今天 学校 妈妈 爸爸 朋友 吃饭 喝水 天气 非常 高兴 明天 再见 谢谢 苹果 老师
        学生 中国 小鸟 森林 月亮 太阳 房子 工作 晚上 衣服 女人 五""",
    "ja": """こんにちは わたし がっこう いきます おかあさん ともだち みず ごはん てんき あした さようなら
        ありがとう りんご せんせい もり つき たいよう いえ しごと よる ふく ひと ぼく まめ""",
    "ko": """안녕하세요 오늘 날씨 학교 어머니 아버지 친구 물 밥 내일 감사합니다 사과 선생님 숲 달 해 집 일
        밤 옷 사람 나무 바다 비빔밥""",
    "vi": """tôi bạn không đẹp nhà cây nước mẹ cha anh tối đường mệt vua nghe năm hôm nay ngày mai có thể táo
        ngựa hoa bánh mì sữa cảm ơn phụ nữ trẻ em""",
    "id": """saya kamu tidak cantik rumah pohon air ibu ayah saudara malam jalan lelah raja dengar lima hari
        ini besok mungkin apel kuda gereja koran bunga bahagia roti susu terima kasih""",
    "sw": """mimi wewe hapana nzuri nyumba mti maji mama baba ndugu jioni barabara mfalme sikia tano leo kesho
        labda tofaa farasi gazeti ua furaha mkate maziwa asante mwanamke mtoto""",
}
LANGUAGES = tuple(_FOREIGN_TEXTS)
_ENGLISH_WORDS = _ENGLISH_TEXT.split()
_ONSET_TEXT = "b bl br ch d dr f fl fr g gl h j k kl l m n p pl pr r s sh sk sl sp st t th tr v w y z"
_NUCLEUS_TEXT = "a ee i o oo u ai ay ow oy ar er or ea igh"
_CODA_TEXT = "b ck d f g l m mp n nd p s sh st t th v"
_ONSETS, _NUCLEI = _ONSET_TEXT.split(), _NUCLEUS_TEXT.split()
_CODAS = ["", "", "", *_CODA_TEXT.split()]


def sentence(rng: np.random.Generator, language: str, *, n_words: int) -> str:
    """Words of `language` in random order; a fifth of the English ones are invented."""
    if language != ENGLISH:
        return " ".join(str(word) for word in rng.choice(_FOREIGN_TEXTS[language].split(), n_words))
    return " ".join(
        str(rng.choice(_ENGLISH_WORDS)) if rng.random() < 0.8 else _invented(rng) for _ in range(n_words)
    )


def _invented(rng: np.random.Generator) -> str:
    n_syllables = int(rng.integers(1, 4))
    parts = [str(rng.choice(choices)) for _ in range(n_syllables) for choices in (_ONSETS, _NUCLEI, _CODAS)]
    return "".join(parts)
